//! Everything that uses bpf(2): the programs, from the object to a cgroup, and what they
//! have counted.

pub mod attach;
pub mod bpffs;
mod btf;
pub mod catalogue;
pub mod deliver;
pub mod exposed;
pub mod former;
pub mod found;
pub mod inventory;
pub mod loader;
pub mod nested;
pub mod pins;
pub mod programs;
pub mod steer;
pub mod syscall;
mod verify;
