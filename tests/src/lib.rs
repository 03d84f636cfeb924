//! Fixtures of the scenario tests: everything a test makes on the host is a
//! value that takes it away again when dropped.
//!
//! A test runs in a network namespace of its own ([`net`]), puts a policy on a
//! scratch cgroup ([`cgroup`]) with the real binary ([`hook`]), and works with
//! sockets that a helper process made inside that cgroup ([`agent`]). The
//! kernel goes by the cgroup of a socket's creator, so the test can use them
//! with ordinary calls and meets what a program inside would.

pub mod agent;
pub mod bench;
pub mod bpf;
pub mod cgroup;
pub mod container;
pub mod counters;
pub mod far;
pub mod foreign;
pub mod harness;
pub mod hook;
pub mod host;
pub mod listener;
pub mod message;
pub mod net;
mod netlink;
pub mod places;
pub mod process;
pub mod program;
pub mod reach;
pub mod results;
pub mod routes;
pub mod rules;
pub mod socket;
pub mod sys;
pub mod syslog;
pub mod tc;
pub mod tun;
pub mod uring;
