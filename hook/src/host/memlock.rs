//! The limit on locked memory. Before Linux 5.11 it covers maps, programs, and the
//! storage that an attachment creates; from then on, nothing that the hook makes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lifts the limit on locked memory for as long as it lives. Then it restores the old
/// limit, since `run` starts a command, which inherits it.
pub struct LockedMemory {
    before: Rlimit,
}

impl LockedMemory {
    /// Lifts the limit. If that is not permitted, the kernel's own error later says what
    /// is missing.
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
