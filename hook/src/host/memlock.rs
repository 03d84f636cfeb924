//! The limit on locked memory. Before Linux 5.11 it counts maps, programs, and
//! the storage that an attachment makes; from then on, nothing of ours.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// While it lives, nothing limits locked memory. Then the limit is what it was:
/// `run` starts a command, which inherits it.
pub struct LockedMemory {
    before: Rlimit,
}

impl LockedMemory {
    /// Lifts the limit. Where that is not allowed, the kernel's own error says
    /// what is missing.
    #[must_use]
    pub fn unlimited() -> Self {
        let before = getrlimit(Resource::Memlock);
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        let _ = setrlimit(Resource::Memlock, unlimited);
        Self { before }
    }
}

impl Drop for LockedMemory {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Memlock, self.before);
    }
}
