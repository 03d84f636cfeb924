//! Everything that touches the kernel: the context, the maps and the helpers.
#![expect(
    unsafe_code,
    reason = "the context, the maps and the helpers are raw pointers of the kernel"
)]

mod atomic;
pub mod binding;
pub mod bound;
pub mod call;
pub mod datagram;
pub mod dual;
mod field;
pub mod lookup;
pub mod outcome;
pub mod packet;
pub mod redirects;
pub mod socket;
mod socket_storage;
pub mod storage;

/// The licence that the kernel checks before it allows its GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
