//! What UDP servers of both families take besides the programs: somebody who
//! reads from an iterator when one was bound. A program that runs at a call may
//! not enter a UDP socket into a map; an iterator may, and runs when it is read.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aya::maps::{Map, MapData, RingBuf};
use aya::programs::Iter;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::fstat;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

use crate::bpf;
use crate::bpffs::{self, DIRECTORY, MOUNT_POINT};
use crate::namespace::{foreign, within};
use crate::programs::{self, COLLECT, KEEPER_PIN, Programs, REPORTS_PIN};

/// What a kernel needs for it.
pub(crate) const NEEDS: &str = "it needs Linux 5.15 or later, with /sys/kernel/btf/vmlinux";

/// Whether a process serves this version's programs.
///
/// # Errors
///
/// If the pin cannot be opened, or the kernel cannot be asked.
pub(crate) fn is_running() -> io::Result<bool> {
    match bpf::open_pin(&programs::directory().join(KEEPER_PIN)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        map => bpf::has_elements(map?.as_fd()),
    }
}

/// Serves UDP servers at `::`, those of all versions whose programs are pinned,
/// until it is killed. `ready` is called when the first is served.
///
/// # Errors
///
/// If the programs cannot be loaded, the kernel has no such iterator, or another
/// process does the same.
pub fn serve(ready: impl FnOnce() -> Result<()>) -> Result<()> {
    // Not kept: it would keep others from changing what is pinned.
    drop(Programs::open_or_load()?);
    let changes = Changes::watch()?;
    let mut keepers = HashMap::new();
    update(&mut keepers)?;
    let own = programs::directory();
    if !keepers.contains_key(&own) {
        bail!(
            "open {}: this kernel cannot enter a UDP socket into a map: {NEEDS}",
            own.join(COLLECT).display()
        );
    }
    ready()?;
    loop {
        if changes.wait_with(keepers.values())? {
            changes.follow()?;
            update(&mut keepers)?;
        }
        for keeper in keepers.values_mut() {
            keeper.enter_reported()?;
        }
    }
}

/// Begins with the versions that are new among the pins, and ends with those that
/// are gone.
fn update(keepers: &mut HashMap<PathBuf, Keeper>) -> Result<()> {
    let _lock = bpffs::lock_shared()?;
    let pinned = programs::pinned_directories()?;
    keepers.retain(|directory, keeper| pinned.contains(directory) && keeper.is_pinned(directory));
    for directory in pinned {
        if keepers.contains_key(&directory) {
            continue;
        }
        match Keeper::new(&directory) {
            Ok(None) => {}
            Ok(Some(keeper)) => {
                log::info!("serves UDP servers at ::, by {}", directory.display());
                keepers.insert(directory, keeper);
            }
            Err(error) if directory == programs::directory() => return Err(error),
            // Of another version, or what an interrupted load has left.
            Err(error) => log::warn!("does not serve {}: {error:#}", directory.display()),
        }
    }
    Ok(())
}

/// What is served of one version.
pub(crate) struct Keeper {
    /// The id of the map of reports.
    reports_id: u32,
    reports: RingBuf<MapData>,
    collect: Iter,
    /// One end is in the map that says that somebody is there, for as long as it
    /// is open.
    _present: (OwnedFd, OwnedFd),
}

impl Keeper {
    /// None for a version, or on a kernel, that has no such servers.
    ///
    /// # Errors
    ///
    /// If a pin cannot be opened, or another process does the same.
    pub(crate) fn new(directory: &Path) -> Result<Option<Self>> {
        bpffs::check(directory)?;
        let collect = directory.join(COLLECT);
        if !collect.exists() {
            return Ok(None);
        }
        let collect = Iter::from_pin(&collect).with_context(|| {
            format!(
                "open {}: needs CAP_SYS_ADMIN, run it as root",
                collect.display()
            )
        })?;
        let reports = directory.join(REPORTS_PIN);
        let map =
            MapData::from_pin(&reports).with_context(|| format!("open {}", reports.display()))?;
        let reports_id = map.info().context("ask for the id of a map")?.id();
        let mut keeper = Self {
            reports_id,
            reports: RingBuf::try_from(Map::RingBuf(map))
                .with_context(|| format!("map {}", reports.display()))?,
            collect,
            _present: announce(&directory.join(KEEPER_PIN))?,
        };
        // Those that were bound while an earlier process ended.
        keeper.enter_all(None)?;
        keeper.enter_reported()?;
        Ok(Some(keeper))
    }

    /// Whether these are the pins that are there now.
    fn is_pinned(&self, directory: &Path) -> bool {
        bpf::open_pin(&directory.join(REPORTS_PIN))
            .and_then(|map| bpf::map_id(map.as_fd()))
            .is_ok_and(|id| id == self.reports_id)
    }

    /// Enters the sockets of which there are reports. A process whose id says
    /// nothing here may have bound its socket in our network namespace too.
    ///
    /// # Errors
    ///
    /// If the kernel refuses to go through the sockets.
    pub(crate) fn enter_reported(&mut self) -> Result<()> {
        let mut processes = HashSet::new();
        while let Some(report) = self.reports.next() {
            if let Ok(id) = <[u8; 4]>::try_from(&*report) {
                processes.extend(Pid::from_raw(i32::from_ne_bytes(id)));
            }
        }
        if processes.is_empty() {
            return Ok(());
        }
        self.enter_all(None)?;
        let mut namespaces = HashMap::new();
        for process in processes {
            // It may have ended.
            if let Ok(Some(theirs)) = foreign(process)
                && let Ok(found) = fstat(&theirs)
            {
                namespaces.insert(found.st_ino, theirs);
            }
        }
        for theirs in namespaces.values() {
            if let Err(error) = self.enter_all(Some(theirs)) {
                log::warn!("a UDP server at :: answers at its IPv4 address alone: {error:#}");
            }
        }
        Ok(())
    }

    /// Enters the sockets of a network namespace, or of our own, that wait for it.
    fn enter_all(&mut self, theirs: Option<&OwnedFd>) -> Result<()> {
        let link = self.collect.attach().context("attach the iterator")?;
        let link = self.collect.take_link(link)?;
        let read = || {
            let mut sockets: File = link.into_file().context("start the iterator")?;
            // It pauses after a million sockets (`MAX_ITER_OBJECTS`).
            while let Err(error) = io::copy(&mut sockets, &mut io::sink()) {
                if error.kind() != io::ErrorKind::WouldBlock {
                    return Err(error).context("read from the iterator");
                }
            }
            Ok(())
        };
        match theirs {
            None => read(),
            Some(theirs) => within(theirs, read),
        }
    }
}

/// Puts a socket of this process into the map that says that somebody is there.
fn announce(pin: &Path) -> Result<(OwnedFd, OwnedFd)> {
    let (here, there) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .context("make a pair of sockets")?;
    let map = bpf::open_pin(pin).with_context(|| format!("open {}", pin.display()))?;
    match bpf::insert_socket(map.as_fd(), here.as_fd()) {
        Ok(()) => Ok((here, there)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("another process serves UDP already: end that one first")
        }
        Err(error) => {
            Err(error).with_context(|| format!("put a socket into {}: {NEEDS}", pin.display()))
        }
    }
}

/// Tells when something was pinned or removed.
struct Changes(OwnedFd);

impl Changes {
    fn watch() -> Result<Self> {
        let changes = Self(
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context("make a watch")?,
        );
        changes.follow()?;
        Ok(changes)
    }

    /// Watches the directory that is there now.
    fn follow(&self) -> Result<()> {
        let events = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        for directory in [MOUNT_POINT, DIRECTORY] {
            match inotify::add_watch(&self.0, directory, events) {
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error).with_context(|| format!("watch {directory}")),
            }
        }
        Ok(())
    }

    /// Waits for a change or a report; whether there was a change.
    fn wait_with<'a>(&self, keepers: impl Iterator<Item = &'a Keeper>) -> Result<bool> {
        let mut fds = vec![PollFd::new(&self.0, PollFlags::IN)];
        fds.extend(keepers.map(|keeper| PollFd::new(&keeper.reports, PollFlags::IN)));
        retry_on_intr(|| poll(&mut fds, None)).context("wait for UDP servers")?;
        let is_changed = !fds[0].revents().is_empty();
        if is_changed {
            self.forget()?;
        }
        Ok(is_changed)
    }

    /// Reads what the events say, which does not matter.
    fn forget(&self) -> Result<()> {
        let mut events = [0; 4096];
        loop {
            match rustix::io::read(&self.0, &mut events) {
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error).context("read what has changed"),
            }
        }
    }
}
