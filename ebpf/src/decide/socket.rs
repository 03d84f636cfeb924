//! socket(2): which protocols a program can have.

/// `IPPROTO_MPTCP`
const MPTCP: u32 = 262;

/// Whether a program may create a socket of the protocol with this number.
///
/// A Multipath TCP connection can be joined at any address of the host where somebody, or
/// the kernel itself, listens at the port. The program would then be served there, and no
/// hook sees that. Programs that ask for the protocol fall back to TCP, as they do on a
/// kernel without it.
#[inline(always)]
pub const fn may_open(protocol: u32) -> bool {
    protocol != MPTCP
}
