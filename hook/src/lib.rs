//! oci-bind-hook.

pub mod addresses;
pub mod annotations;
pub mod attach;
pub mod bpf;
pub mod bpffs;
pub mod btf;
pub mod cgroup;
pub mod config;
pub mod loader;
pub mod policy;
pub mod programs;
pub mod request;
pub mod state;
