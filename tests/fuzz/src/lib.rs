//! What holds whatever the hook and its programs are given: one function for
//! each kind of input, which panics when it does not hold.
//!
//! `make fuzz` has libFuzzer look for such an input; `cargo test` tries the
//! seeds it starts from.

mod annotations;
mod cgroup;
mod config;
mod decisions;
mod mountinfo;
mod netlink;
mod plan;
mod refusal;
mod state;
mod text;

/// Takes one input; panics when something does not hold.
pub type Target = fn(&[u8]);

/// Every target, by name: that of the folder in `seeds` too.
pub const TARGETS: [(&str, Target); 8] = [
    ("state", state::check),
    ("annotations", annotations::check),
    ("config", config::check),
    ("plan", plan::check),
    ("cgroup", cgroup::check),
    ("mountinfo", mountinfo::check),
    ("netlink", netlink::check),
    ("decisions", decisions::check),
];
