//! What the hook needs from the host, apart from eBPF.

pub mod addresses;
pub(crate) mod bundle;
pub mod cgroup;
pub(crate) mod devices;
pub(crate) mod memlock;
pub(crate) mod netlink;
pub(crate) mod netns;
pub(crate) mod ownership;
pub(crate) mod parallel;
pub(crate) mod privileges;
pub(crate) mod sockets;
