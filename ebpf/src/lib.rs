//! The contract of oci-bind-hook between user space and its eBPF programs:
//! the shared structs ([`abi`]) and the decisions, pure functions over plain
//! values that run the same in the kernel and in a host's unit tests.
//!
//! Addresses have the form in which the kernel passes them to the programs: an IPv4
//! address is one `u32`, an IPv6 address four, each in network byte order.
#![no_std]

pub mod abi;
pub mod decide;
