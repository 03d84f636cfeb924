//! oci-bind-hook.

pub mod annotations;
pub mod request;
