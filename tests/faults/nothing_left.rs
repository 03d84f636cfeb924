//! Whether the kernel holds more than before.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::{bpf, harness};

/// What others on this machine have made meanwhile, such as another run of the tests,
/// cannot be told from what is ours, but is gone by then.
const PATIENCE: Duration = Duration::from_secs(300);

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

    /// Waits until no removed cgroup below the scope is held, and every program,
    /// map and link that is new now is gone. The kernel frees them from work queues,
    /// after grace periods.
    pub fn assert_nothing_left(&self) -> Result<()> {
        let mut new = bpf::census()?;
        for (new, before) in new.iter_mut().zip(&self.ids) {
            new.retain(|id| !before.contains(id));
        }
        harness::within(PATIENCE, || {
            let dying = self.scope.dying()?;
            for (new, now) in new.iter_mut().zip(bpf::census()?) {
                new.retain(|id| now.contains(id));
            }
            let is_right = dying == 0 && new.iter().all(BTreeSet::is_empty);
            let [programs, maps, links] = &new;
            harness::attempted(is_right, || {
                format!(
                    "still there: {dying} removed cgroups, programs {programs:?}, maps {maps:?}, links {links:?}"
                )
            })
        })
    }
}
