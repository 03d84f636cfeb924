//! Socket storage: what is kept about a socket, which the kernel frees with it.

use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_SK_STORAGE;
use aya_ebpf::bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::bpf_sk_storage_get;
use core::ptr::{null, null_mut};

const TYPE: usize = BPF_MAP_TYPE_SK_STORAGE as usize;
const FLAGS: usize = (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize;

/// Socket storage that is copied to the sockets of accepted connections. aya has no type
/// for it, but the loader looks only at the type of this struct.
#[repr(C)]
pub struct ClonedStorage<T> {
    r#type: *const [i32; TYPE],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; FLAGS],
}

// SAFETY: nothing is behind the pointers, and nothing reads them.
unsafe impl<T> Sync for ClonedStorage<T> {}

impl<T> ClonedStorage<T> {
    pub const fn new() -> Self {
        Self {
            r#type: null(),
            key: null(),
            value: null(),
            max_entries: null(),
            map_flags: null(),
        }
    }
}

/// A map of socket storage with values of one type.
pub trait Storage<T: 'static> {
    /// What is kept about the socket; `None` if nothing is. `socket` may be the context of
    /// a program.
    #[inline(always)]
    fn of(&'static self, socket: *mut bpf_sock) -> Option<&'static mut T> {
        get(self, socket, 0)
    }

    /// The same, all zero at first; `None` if memory runs out.
    #[inline(always)]
    fn create(&'static self, socket: *mut bpf_sock) -> Option<&'static mut T> {
        get(self, socket, BPF_SK_STORAGE_GET_F_CREATE.into())
    }
}

impl<T: 'static> Storage<T> for SkStorage<T> {}
impl<T: 'static> Storage<T> for ClonedStorage<T> {}

#[inline(always)]
fn get<T: 'static, S: Storage<T> + ?Sized>(
    map: &'static S,
    socket: *mut bpf_sock,
    flags: u64,
) -> Option<&'static mut T> {
    let map = (&raw const *map).cast_mut().cast();
    // SAFETY: the helper accepts any full socket.
    let value = unsafe { bpf_sk_storage_get(map, socket.cast(), null_mut(), flags) };
    // SAFETY: the value is as large as the map says, and lives as long as the program
    // runs. The socket is locked, or the value is only read: a bind that goes on at the
    // same time may be seen or not.
    unsafe { value.cast::<T>().as_mut() }
}
