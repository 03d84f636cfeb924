//! The policy that another one replaces.

use oci_bind_hook_ebpf::abi::{Policy, flag};

/// What was on a cgroup before.
#[derive(Debug)]
pub enum Former {
    /// No programs.
    Nothing,
    /// Programs without a policy: everything was refused.
    Unwritten,
    /// A policy.
    Policy(Box<Policy>),
    /// The policy of a version that this one cannot read.
    Unreadable,
}

impl Former {
    /// Tells whether a policy that is there has been written.
    pub fn of(policy: Policy) -> Self {
        match policy.flags & flag::ACTIVE {
            0 => Self::Unwritten,
            _ => Self::Policy(Box::new(policy)),
        }
    }
}
