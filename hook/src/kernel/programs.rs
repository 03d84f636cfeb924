//! The programs: loaded and pinned once per boot, and opened by everybody after that.
//!
//! Each version of the object has its own directory of pins, named after its hash.
//! Containers that started under an older version keep its programs.

use anyhow::{Context as _, Result};
use std::cell::OnceCell;
use std::ops::Deref;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::host::privileges::REMEDY;
use crate::kernel::catalogue::{COUNTERS_PIN, DUAL_PIN, FORMER, POLICY_PIN, PROGRAMS, Program};
use crate::kernel::syscall::{self, object};
use crate::kernel::{bpffs, loader, pins};

/// A program that has been opened.
#[derive(Debug)]
pub struct Opened {
    program: Program,
    fd: OwnedFd,
    id: OnceCell<u32>,
}

impl Deref for Opened {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl Opened {
    /// Takes a program that `fd` is the descriptor of.
    pub const fn new(program: Program, fd: OwnedFd) -> Self {
        Self {
            program,
            fd,
            id: OnceCell::new(),
        }
    }

    /// Returns its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether it is attached to the cgroup itself.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub fn is_attached(&self, cgroup: BorrowedFd<'_>) -> Result<bool> {
        let attached = syscall::attached(cgroup, self.attach_type)
            .with_context(|| format!("list the {} programs: {REMEDY}", self.name))?;
        Ok(!attached.is_empty() && attached.contains(&self.id()?))
    }

    /// Returns the id that the kernel knows it by, and asks only once.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub fn id(&self) -> Result<u32> {
        if let Some(id) = self.id.get() {
            return Ok(*id);
        }
        let id = object::program_id(self.fd())
            .with_context(|| format!("get the id of program {}", self.name))?;
        Ok(*self.id.get_or_init(|| id))
    }
}

/// One version's programs and its policy map, opened.
#[derive(Debug)]
pub struct Programs {
    programs: Vec<Rc<Opened>>,
    policy: OwnedFd,
    directory: PathBuf,
    _lock: Option<bpffs::Lock>,
}

impl Programs {
    /// Opens this version's programs if they are pinned, and loads them otherwise.
    ///
    /// The value holds the lock, so nobody removes the pins while it lives.
    ///
    /// # Errors
    ///
    /// If there is no bpffs and none can be mounted, if the kernel refuses a
    /// program, or for lack of privileges.
    pub fn open_or_load() -> Result<Self> {
        if let Some(lock) = bpffs::lock_shared()?
            && let Some(mut found) = Self::open_own()?
        {
            found._lock = Some(lock);
            log::debug!(
                "opened the programs pinned in {}",
                pins::directory().display()
            );
            return Ok(found);
        }
        let lock = bpffs::lock_or_make()?;
        let mut found = match Self::open_own()? {
            Some(found) => found,
            None => {
                loader::load(&pins::directory())?;
                log::debug!(
                    "loaded the programs and pinned them in {}",
                    pins::directory().display()
                );
                Self::open_own()?.context("open the programs just pinned")?
            }
        };
        found._lock = Some(lock);
        Ok(found)
    }

    /// Opens this version's programs; `None` if a pin is missing.
    fn open_own() -> Result<Option<Self>> {
        let found = Self::open(&pins::directory())?;
        Ok(found.filter(|found| found.programs.len() == PROGRAMS.len()))
    }

    /// Opens the programs pinned in `directory`; `None` if there are none. Another
    /// version may lack some of ours, or have more; those of earlier versions are known.
    fn open(directory: &Path) -> Result<Option<Self>> {
        bpffs::check(directory)?;
        let Some(policy) = pins::open(&directory.join(POLICY_PIN))? else {
            return Ok(None);
        };
        let mut programs = Vec::with_capacity(PROGRAMS.len());
        for program in PROGRAMS.into_iter().chain(FORMER) {
            if let Some(fd) = pins::open(&directory.join(program.name))? {
                programs.push(Rc::new(Opened::new(program, fd)));
            }
        }
        Ok(Some(Self {
            programs,
            policy,
            directory: directory.to_owned(),
            _lock: None,
        }))
    }

    /// Opens the programs of every version that is pinned. The caller holds the lock.
    ///
    /// # Errors
    ///
    /// If the directory of pins cannot be read.
    pub fn all_pinned() -> Result<Vec<(PathBuf, Self)>> {
        let mut all = Vec::new();
        for directory in pins::directories()? {
            if let Some(programs) = Self::open(&directory)? {
                all.push((directory, programs));
            }
        }
        Ok(all)
    }

    /// Iterates over the programs in the order of attachment.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<Opened>> {
        self.programs.iter()
    }

    /// Returns the policy map.
    pub fn policy(&self) -> BorrowedFd<'_> {
        self.policy.as_fd()
    }

    /// Returns the policy map, and closes the rest.
    pub fn into_policy(self) -> OwnedFd {
        self.policy
    }

    /// Opens the map of counters, which is needed only to show them; `None` if it is not
    /// pinned.
    ///
    /// # Errors
    ///
    /// If it cannot be opened.
    pub fn counters(&self) -> Result<Option<OwnedFd>> {
        pins::open(&self.directory.join(COUNTERS_PIN))
    }

    /// Whether dual-stack servers that these programs have bound still listen: they are
    /// reached over IPv6 as long as the pins exist.
    ///
    /// # Errors
    ///
    /// If the pin cannot be opened, or the kernel cannot be asked.
    pub fn have_servers(&self) -> Result<bool> {
        let path = self.directory.join(DUAL_PIN);
        match pins::open(&path)? {
            None => Ok(false),
            Some(map) => syscall::map::has_elements(map.as_fd())
                .with_context(|| format!("look for servers in {}", path.display())),
        }
    }

    /// Returns the name of the version: the hash of its object.
    pub fn version(&self) -> String {
        let name = self.directory.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}
