//! oci-bind-hook.

pub mod addresses;
pub mod annotations;
pub mod cgroup;
pub mod config;
pub mod policy;
pub mod request;
pub mod state;
