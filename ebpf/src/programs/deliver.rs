//! Datagrams that enter a network namespace.

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use crate::kernel::datagram::Datagram;

/// Packets that a device receives. Whatever is found, the verdict on the packet is left to
/// others: `TC_ACT_UNSPEC` has the same value as `TCX_NEXT`.
#[classifier]
fn deliver(ctx: TcContext) -> i32 {
    match Datagram::new(&ctx) {
        Some(Datagram::V6(datagram)) => datagram.deliver(),
        Some(Datagram::V4(datagram)) => datagram.deliver(),
        None => {}
    }
    TC_ACT_UNSPEC
}
