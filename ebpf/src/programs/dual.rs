//! The maps of dual-stack servers, `struct bpf_sock_ops` and `struct
//! bpf_sk_lookup`.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_NOEXIST, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_LISTEN_CB,
    BPF_TCP_LISTEN, bpf_sk_lookup, bpf_sock, bpf_sock_ops,
};
use aya_ebpf::btf_maps::{Array, SkStorage, SockHash};
use aya_ebpf::helpers::{
    bpf_map_delete_elem, bpf_map_lookup_elem, bpf_sk_assign, bpf_sk_release, bpf_sk_storage_get,
    bpf_skc_to_tcp6_sock, bpf_sock_hash_update, bpf_sock_ops_cb_flags_set,
};
use aya_ebpf::programs::{SkLookupContext, SockOpsContext};
use core::arch::asm;
use core::ffi::c_void;
use core::ops::Range;
use core::ptr::{null_mut, read_volatile};
use oci_bind_hook_ebpf::abi::{DUAL_COUNTS as COUNTS, Policy, UNKNOWN_BIT};
use oci_bind_hook_ebpf::address::{V6, same6};
use oci_bind_hook_ebpf::dual::{
    DualBind, GROUPS, Place, SLOTS, asked, bucket, dual_bind, has_servers, one,
};

use super::context::{byte, member};

/// The most dual-stack servers that can listen on one host at a time.
const SERVERS: usize = 1 << 14;
/// `BPF_SK_STORAGE_GET_F_CREATE`
const CREATE: u64 = 1;
/// `-EEXIST`
const EXISTS: i64 = -17;
/// `AF_INET6`
const AF_INET6: u32 = 10;
/// `IPPROTO_TCP`
const TCP: u32 = 6;

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DUAL: SockHash<Place, SERVERS> = SockHash::new();

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DUAL_COUNTS: Array<u64, { COUNTS as usize }> = Array::new();

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DUAL_BINDS: SkStorage<DualBind> = SkStorage::new();

/// The network namespace that this copy of `steer` is for; set by the loader,
/// since no helper tells the namespace of a packet there.
#[unsafe(no_mangle)]
static NAMESPACE: u64 = 0;

/// Where `sock.sk_shutdown`, a byte, is on this kernel, in bits from the start of
/// the socket; set by the loader. Where that is not known there are no dual-stack
/// servers.
#[unsafe(no_mangle)]
static SHUTDOWN_BIT: u32 = UNKNOWN_BIT;

/// Reads one field of a context.
macro_rules! field {
    ($pointer:expr, $($field:tt)+) => {
        // SAFETY: the kernel hands over a context that is valid while the
        // program runs.
        unsafe { read_volatile(&raw const (*$pointer).$($field)+) }
    };
}

/// Remembers that the socket is bound as a dual-stack server; false for lack of
/// memory.
#[inline(always)]
pub fn remember(socket: *mut bpf_sock, policy: &Policy) -> bool {
    match of(socket, CREATE) {
        None => false,
        Some(bind) => {
            set(bind, dual_bind(policy));
            true
        }
    }
}

/// What the program asked for that binds the socket to `address`; whatever is
/// remembered of this bind further in, or of one that failed, is forgotten.
#[inline(always)]
pub fn take(socket: *mut bpf_sock, policy: &Policy, address: V6) -> V6 {
    match of(socket, 0) {
        None => address,
        Some(bind) => {
            let asked = asked(policy, bind, address);
            set(bind, DualBind::default());
            asked
        }
    }
}

/// A server that listens is not bound again: the kernel will refuse that.
#[inline(always)]
fn set(bind: &mut DualBind, value: DualBind) {
    if bind.is_counted == 0 {
        *bind = value;
    }
}

#[inline(always)]
fn of(socket: *mut bpf_sock, flags: u64) -> Option<&'static mut DualBind> {
    let map: *mut c_void = (&raw const DUAL_BINDS).cast_mut().cast();
    // SAFETY: the helper takes any full socket; the value is zero at first.
    let value = unsafe { bpf_sk_storage_get(map, socket.cast(), null_mut(), flags) };
    // SAFETY: the value is as large as the map says, and lives as long as the
    // program runs; the socket is locked.
    unsafe { value.cast::<DualBind>().as_mut() }
}

/// What a socket is about to do.
pub enum State {
    /// It has begun to listen.
    Listens,
    /// It listens no more.
    Closes,
    /// Something else.
    Other,
}

/// A TCP socket whose state changes.
pub struct Socket {
    ops: *mut bpf_sock_ops,
}

impl Socket {
    #[inline(always)]
    pub fn new(ctx: &SockOpsContext) -> Self {
        Self { ops: ctx.ops }
    }

    #[inline(always)]
    pub fn state(&self) -> State {
        match field!(self.ops, op) {
            BPF_SOCK_OPS_TCP_LISTEN_CB => State::Listens,
            // The first argument is the old state.
            BPF_SOCK_OPS_STATE_CB
                if field!(self.ops, __bindgen_anon_1.args[0]) == BPF_TCP_LISTEN =>
            {
                State::Closes
            }
            _ => State::Other,
        }
    }

    /// Enters the socket into the map if it was bound as a dual-stack server,
    /// in the first slot that is free. Without one, or for lack of memory, it
    /// answers at its IPv4 address alone.
    #[inline(always)]
    pub fn enter(&self) {
        // It was not said to listen no more, since nobody asked for that.
        self.leave();
        let Some(bind) = self.bind() else { return };
        let local = [
            field!(self.ops, local_ip6[0]),
            field!(self.ops, local_ip6[1]),
            field!(self.ops, local_ip6[2]),
            field!(self.ops, local_ip6[3]),
        ];
        if !same6(&local, &bind.bound) {
            return;
        }
        let mut place = Place {
            slot: 0,
            ..bind.place
        };
        #[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
        let port = field!(self.ops, local_port) as u16;
        place.port = port.to_be();
        let Some(count) = count(&place) else { return };
        for slot in 0..SLOTS {
            place.slot = slot;
            let error = self.update(&place);
            if error == 0 {
                add(count, one(slot).cast_signed());
                bind.place = place;
                bind.is_counted = 1;
                self.ask_for_states();
            }
            if error != EXISTS {
                return;
            }
        }
    }

    /// Takes the socket out of the map again, if it was shut down. The kernel does
    /// so when it closes, before this, and then another may have its slot already.
    #[inline(always)]
    pub fn leave(&self) {
        if let Some(bind) = self.bind()
            && bind.is_counted != 0
            && let Some(count) = count(&bind.place)
        {
            if !self.is_closing() {
                let map: *mut c_void = (&raw const DUAL).cast_mut().cast();
                let mut place = bind.place;
                let key: *const c_void = (&raw mut place).cast();
                // SAFETY: the helper reads a key of the map's size.
                let _ = unsafe { bpf_map_delete_elem(map, key) };
            }
            bind.is_counted = 0;
            add(count, -one(bind.place.slot).cast_signed());
        }
    }

    #[inline(always)]
    fn bind(&self) -> Option<&'static mut DualBind> {
        of(self.socket()?, 0)
    }

    /// Whether the socket is closed (`__tcp_close`), and not shut down.
    #[inline(always)]
    fn is_closing(&self) -> bool {
        let (Some(bit), Some(socket)) = (member(&SHUTDOWN_BIT), self.socket()) else {
            return true;
        };
        // SAFETY: the helper takes any socket, and answers null for one of
        // another protocol.
        let tcp: *const u8 = unsafe { bpf_skc_to_tcp6_sock(socket.cast()) }.cast();
        tcp.is_null() || byte(tcp, bit) != 0
    }

    #[inline(always)]
    fn socket(&self) -> Option<*mut bpf_sock> {
        let socket = field!(self.ops, __bindgen_anon_2);
        // SAFETY: a union of one pointer.
        let socket = unsafe { socket.sk };
        (!socket.is_null()).then_some(socket)
    }

    #[inline(always)]
    fn update(&self, place: &Place) -> i64 {
        let map: *mut c_void = (&raw const DUAL).cast_mut().cast();
        let key: *mut c_void = (&raw const *place).cast_mut().cast();
        // SAFETY: the helper reads a key of the map's size.
        unsafe { bpf_sock_hash_update(self.ops, map, key, u64::from(BPF_NOEXIST)) }
    }

    /// Has the kernel call this program when the socket's state changes.
    #[inline(always)]
    fn ask_for_states(&self) {
        let flags = field!(self.ops, bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG;
        // SAFETY: the helper takes flags that the kernel defines.
        let _ = unsafe { bpf_sock_ops_cb_flags_set(self.ops, flags.cast_signed()) };
    }
}

/// A packet that belongs to no connection.
pub struct Packet {
    lookup: *mut bpf_sk_lookup,
}

impl Packet {
    #[inline(always)]
    pub fn new(ctx: &SkLookupContext) -> Self {
        Self { lookup: ctx.lookup }
    }

    /// The place that it is for, if dual-stack servers can be there.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
    pub fn place(&self) -> Option<Place> {
        if field!(self.lookup, family) != AF_INET6 || field!(self.lookup, protocol) != TCP {
            return None;
        }
        Some(Place {
            // SAFETY: a static of this object; volatile, because the loader
            // sets it.
            namespace: unsafe { read_volatile(&raw const NAMESPACE) },
            address: [
                field!(self.lookup, local_ip6[0]),
                field!(self.lookup, local_ip6[1]),
                field!(self.lookup, local_ip6[2]),
                field!(self.lookup, local_ip6[3]),
            ],
            port: (field!(self.lookup, local_port) as u16).to_be(),
            reserved: 0,
            slot: 0,
        })
    }
}

/// Makes the first server at this place the receiver of the packet.
#[inline(always)]
pub fn assign(ctx: &SkLookupContext, mut place: Place) {
    let Some(counts) = count(&place) else { return };
    // SAFETY: a word of a map's value, which others change.
    let counts = unsafe { read_volatile(counts) };
    for bounds in GROUPS.windows(2) {
        if has_servers(counts, bounds[0]) && assign_from(ctx, &mut place, bounds[0]..bounds[1]) {
            return;
        }
    }
}

/// Looks in these slots alone; whether there was a server.
#[inline(always)]
fn assign_from(ctx: &SkLookupContext, place: &mut Place, slots: Range<u32>) -> bool {
    let map: *mut c_void = (&raw const DUAL).cast_mut().cast();
    for slot in slots {
        place.slot = slot;
        // SAFETY: the helper reads a key of the map's size, and answers a
        // socket that is held until it is released.
        let socket = unsafe { bpf_map_lookup_elem(map, (&raw const *place).cast()) };
        if !socket.is_null() {
            let socket: *mut bpf_sock = socket.cast();
            // SAFETY: the socket is held until it is released below.
            let device = unsafe { read_volatile(&raw const (*socket).bound_dev_if) };
            // SAFETY: as above.
            let state = unsafe { read_volatile(&raw const (*socket).state) };
            // One of a device does not hear all; one that was shut down, nobody.
            let is_open = device == 0 && state == BPF_TCP_LISTEN;
            if is_open {
                // SAFETY: as above. If another program has chosen a socket, the
                // kernel refuses, and that one stays.
                let _ = unsafe { bpf_sk_assign(ctx.as_ptr(), socket.cast(), 0) };
            }
            // SAFETY: the reference came from the lookup, and is used no more.
            let _ = unsafe { bpf_sk_release(socket.cast()) };
            if is_open {
                return true;
            }
        }
    }
    false
}

#[inline(always)]
fn count(place: &Place) -> Option<*mut u64> {
    DUAL_COUNTS.get_ptr_mut(bucket(place))
}

/// Atomic; in assembly, because core has no atomics for this target.
#[inline(always)]
fn add(count: *mut u64, change: i64) {
    // SAFETY: the counter is aligned, and inside the value of a map.
    unsafe {
        asm!(
            "lock *(u64 *)({count} + 0) += {change}",
            count = in(reg) count,
            change = in(reg) change,
            options(nostack),
        );
    }
}
