//! socket(2): which protocols a program can have.

use oci_bind_hook_ebpf::decide::socket::may_open;

/// `IPPROTO_MPTCP`
const MPTCP: u32 = 262;

#[test]
fn multipath_tcp_alone_is_refused() {
    for protocol in 0..2 * MPTCP {
        assert_eq!(may_open(protocol), protocol != MPTCP, "{protocol}");
    }
}
