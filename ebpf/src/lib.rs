//! The contract of oci-bind-hook between user space and its eBPF programs:
//! the shared structs ([`abi`]) and the decisions, pure functions over plain
//! values that run the same in the kernel and in a host's unit tests.
//!
//! Addresses and ports ([`net`]) have the form in which the kernel passes them to the
//! programs.
#![no_std]

pub mod abi;
pub mod decide;
pub mod net;
