//! The two maps: cgroup storage, which belongs to the cgroup that the running
//! program is attached to, whatever cgroup below it the socket's creator is in.

use aya_ebpf::bindings::bpf_map_def;
use aya_ebpf::bindings::bpf_map_type::{
    BPF_MAP_TYPE_CGROUP_STORAGE, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
};
use aya_ebpf::helpers::bpf_get_local_storage;
use core::ffi::c_void;
use oci_bind_hook_ebpf::abi::{BINDS, Cause, Counters, Hook, HookCounters, Policy};

use super::atomic::add;

/// A map whose key is the cgroup's id alone: one value for all attach types
/// (Linux 5.9), so that one update changes the policy of every hook at once.
const fn by_cgroup<V>(map_type: u32) -> bpf_map_def {
    bpf_map_def {
        type_: map_type,
        key_size: size_of::<u64>() as u32,
        value_size: size_of::<V>() as u32,
        max_entries: 0,
        map_flags: 0,
        id: 0,
        pinning: 0,
    }
}

#[unsafe(link_section = "maps")]
#[unsafe(no_mangle)]
static mut POLICY: bpf_map_def = by_cgroup::<Policy>(BPF_MAP_TYPE_CGROUP_STORAGE);

#[unsafe(link_section = "maps")]
#[unsafe(no_mangle)]
static mut COUNTERS: bpf_map_def = by_cgroup::<Counters>(BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);

/// The policy of the cgroup, all zero before it is written.
#[inline(always)]
pub fn policy() -> &'static Policy {
    let map: *mut c_void = (&raw mut POLICY).cast();
    // SAFETY: the helper never fails for a map of the program's own.
    let value = unsafe { bpf_get_local_storage(map, 0) };
    // SAFETY: the value is as large as the map says, and lives as long as the program
    // runs. An update replaces it as a whole (`cgroup_storage_update_elem`), so it never
    // changes while it is read.
    unsafe { &*value.cast::<Policy>() }
}

/// Adds one to a counter of this hook, in this CPU's copy, which another task that
/// interrupts this one may change too.
#[inline(always)]
pub fn count(hook: Hook, field: impl FnOnce(&HookCounters) -> *const u64) {
    add(field(&counters().hooks[hook as usize]), 1);
}

/// Counts a refusal.
#[inline(always)]
pub fn count_refusal(hook: Hook, cause: Cause) {
    let counters = counters();
    add(&raw const counters.hooks[hook as usize].denied, 1);
    add(&raw const counters.causes[cause as usize], 1);
}

/// Counts an isolated bind.
#[inline(always)]
pub fn count_isolated(hook: Hook) {
    add(&raw const counters().isolated[hook as usize % BINDS], 1);
}

#[inline(always)]
fn counters() -> &'static Counters {
    let map: *mut c_void = (&raw mut COUNTERS).cast();
    // SAFETY: as in `policy`.
    let value = unsafe { bpf_get_local_storage(map, 0) };
    // SAFETY: the value is as large as the map says, and lives as long as the
    // program runs.
    unsafe { &*value.cast::<Counters>() }
}
