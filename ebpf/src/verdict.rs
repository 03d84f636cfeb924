//! What a decision comes to.

use crate::abi::{Policy, flag};
use crate::address::{V4, V6};

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<A> {
    /// It goes on as it is.
    Pass,
    /// It goes on with this local address.
    Rewrite(A),
    /// It is refused.
    Deny(Errno),
}

impl<A> Verdict<A> {
    /// The same verdict about another type of address.
    #[inline(always)]
    pub fn map<B>(self, convert: impl FnOnce(A) -> B) -> Verdict<B> {
        match self {
            Self::Pass => Verdict::Pass,
            Self::Rewrite(address) => Verdict::Rewrite(convert(address)),
            Self::Deny(errno) => Verdict::Deny(errno),
        }
    }
}

/// The errno of a refused call, where the kernel lets a program choose
/// (`bpf_set_retval`, Linux 5.18); before that it is always EPERM.
///
/// The numbers are those of `asm-generic/errno.h`, which every architecture
/// with a little-endian BPF target but MIPS uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Errno {
    /// EPERM: the cgroup has programs but no policy yet.
    NotPermitted = 1,
    /// EAFNOSUPPORT: an address of another family than the socket's.
    FamilyNotSupported = 97,
    /// EADDRNOTAVAIL: the cgroup owns no such address.
    AddressNotAvailable = 99,
    /// ENETUNREACH: the cgroup has no address of that family to send from.
    NetworkUnreachable = 101,
}

/// The assigned IPv4 address, if there is one.
#[inline(always)]
pub const fn assigned4(policy: &Policy) -> Option<V4> {
    if policy.flags & flag::IPV4 != 0 {
        Some(policy.ipv4)
    } else {
        None
    }
}

/// The assigned IPv6 address, if there is one.
#[inline(always)]
pub const fn assigned6(policy: &Policy) -> Option<V6> {
    if policy.flags & flag::IPV6 != 0 {
        Some(policy.ipv6)
    } else {
        None
    }
}

/// Whether the policy has been written. A cgroup whose programs run before
/// that is refused everything.
#[inline(always)]
pub const fn is_active(policy: &Policy) -> bool {
    policy.flags & flag::ACTIVE != 0
}
