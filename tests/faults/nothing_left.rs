//! Whether the kernel holds more than before.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::{bpf, harness};

/// The kernel frees cgroups and programs from work queues, after grace periods.
const PATIENCE: Duration = Duration::from_secs(60);

/// What there was at some time, and a cgroup for everything made since.
pub struct Before {
    pub scope: Cgroup,
    ids: [BTreeSet<u32>; 3],
}

impl Before {
    /// Now.
    pub fn now() -> Result<Self> {
        Ok(Self {
            scope: Cgroup::new()?,
            ids: bpf::census()?,
        })
    }

    /// Waits until no removed cgroup below the scope is held, and no program,
    /// map or link is new.
    pub fn assert_nothing_left(&self) -> Result<()> {
        harness::eventually(PATIENCE, || {
            let dying = self.scope.dying()?;
            let new = self.new_ids()?;
            let is_right = dying == 0 && new.iter().all(BTreeSet::is_empty);
            let [programs, maps, links] = new;
            harness::attempted(is_right, || {
                format!(
                    "still there: {dying} removed cgroups, programs {programs:?}, maps {maps:?}, links {links:?}"
                )
            })
        })
    }

    fn new_ids(&self) -> Result<[BTreeSet<u32>; 3]> {
        let mut new = bpf::census()?;
        for (now, before) in new.iter_mut().zip(&self.ids) {
            now.retain(|id| !before.contains(id));
        }
        Ok(new)
    }
}
