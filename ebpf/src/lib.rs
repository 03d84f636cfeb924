//! The contract of oci-bind-hook between user space and its eBPF programs:
//! the shared structs ([`abi`]) and the decisions, pure functions over plain
//! values that run the same in the kernel and in a host's unit tests.
#![no_std]

pub mod abi;
