//! What is decided about a call.

use crate::abi::Cause;
use crate::net::{Port, V6};

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on as it is.
    Pass,
    /// It goes on with other addresses.
    Rewrite,
    /// A bind goes on where no other host can reach it: at loopback, at a port that the
    /// kernel chooses. The program is told what it asked for.
    Isolate,
    /// It is refused.
    Deny,
}

/// What becomes of one call, and how.
///
/// All fields have a value, whatever the action. With an enum the compiler spills the
/// unused bytes of the other variants from registers that were never written, and the
/// verifier says "R1 !read_ok".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<R> {
    /// What becomes of it.
    pub action: Action,
    /// The addresses for [`Action::Rewrite`] and [`Action::Isolate`].
    pub rewrite: R,
    /// The reason for [`Action::Deny`].
    pub cause: Cause,
}

impl<R> Verdict<R> {
    /// Whether the call goes on with the addresses of the verdict.
    #[inline(always)]
    pub const fn is_rewritten(&self) -> bool {
        matches!(self.action, Action::Rewrite | Action::Isolate)
    }

    /// Whether a bind goes on where no other host can reach it.
    #[inline(always)]
    pub const fn is_isolated(&self) -> bool {
        matches!(self.action, Action::Isolate)
    }
}

impl<R: Default> Verdict<R> {
    /// The call goes on as it is.
    #[inline(always)]
    pub fn pass() -> Self {
        Self {
            action: Action::Pass,
            rewrite: R::default(),
            cause: Cause::NoPolicy,
        }
    }

    /// The call goes on with these addresses.
    #[inline(always)]
    pub fn rewrite(rewrite: R) -> Self {
        Self {
            action: Action::Rewrite,
            rewrite,
            cause: Cause::NoPolicy,
        }
    }

    /// The bind goes on at this loopback address.
    #[inline(always)]
    pub fn isolate(rewrite: R) -> Self {
        Self {
            action: Action::Isolate,
            rewrite,
            cause: Cause::NoPolicy,
        }
    }

    /// The call is refused.
    #[inline(always)]
    pub fn deny(cause: Cause) -> Self {
        Self {
            action: Action::Deny,
            rewrite: R::default(),
            cause,
        }
    }

    /// The same verdict with another type of address.
    #[inline(always)]
    pub fn map<S>(self, convert: impl FnOnce(R) -> S) -> Verdict<S> {
        Verdict {
            action: self.action,
            rewrite: convert(self.rewrite),
            cause: self.cause,
        }
    }
}

/// How a connect or a datagram goes on: with another source, another destination, or both.
/// IPv4 addresses are IPv4-mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// Whether the call is made from `source`, or from where it would have been.
    pub is_moved: bool,
    /// The source.
    pub source: V6,
    /// Whether the call goes to `destination` and `port`, or to where it was
    /// going.
    pub is_redirected: bool,
    /// The destination.
    pub destination: V6,
    /// The port at the destination.
    pub port: Port,
}

impl Path {
    /// From `source` to where the call was going.
    #[inline(always)]
    pub fn from(source: V6) -> Self {
        Self {
            is_moved: true,
            source,
            ..Self::default()
        }
    }
}

impl Cause {
    /// The errno of the refused call, where the kernel lets a program choose
    /// (`bpf_set_retval`, Linux 5.18); before that it is always EPERM.
    ///
    /// The numbers are those of `asm-generic/errno.h`, which every architecture with a
    /// little-endian BPF target uses, except MIPS.
    #[inline(always)]
    pub const fn errno(self) -> i32 {
        match self {
            Self::NoPolicy => 1,
            Self::Family => 97,
            Self::NotAssigned | Self::Immovable => 99,
            Self::Unreachable => 101,
            Self::Refused => 111,
            Self::InUse => 98,
            Self::Protocol => 93,
        }
    }
}
