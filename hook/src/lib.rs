//! oci-bind-hook.
