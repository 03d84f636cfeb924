//! socket(2): which protocols a program can have.

/// `IPPROTO_MPTCP`
const MPTCP: u32 = 262;

/// Whether a program may make a socket of the protocol with this number.
///
/// A connection of Multipath TCP can be joined at any address of the host where
/// somebody listens at the port, or the kernel itself does, and the program would
/// be served there: no hook sees it. What asks for it falls back to TCP, as where
/// the kernel has no such protocol.
#[inline(always)]
pub const fn may_open(protocol: u32) -> bool {
    protocol != MPTCP
}
