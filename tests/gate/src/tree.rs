//! The processes that a part has started, those included that have lost their
//! parent: this process adopts them (`PR_SET_CHILD_SUBREAPER`), so that none
//! can leave its tree, and takes their status, so that none stays as a zombie.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How often what is to end is killed, and how long each time is waited for it.
const KILLS: u32 = 10;
const MOMENT: Duration = Duration::from_secs(1);

/// Whether a signal has asked this process to end.
static IS_ASKED: AtomicBool = AtomicBool::new(false);

/// Makes this process the parent of every descendant that loses its own.
pub fn adopt_orphans() -> Result<()> {
    set_child_subreaper(Some(getpid())).context("adopt orphans (PR_SET_CHILD_SUBREAPER)")
}

/// A child, and all that descends from it.
pub struct Tree {
    events: Receiver<Event>,
}

enum Event {
    /// The child has ended.
    Ended(WaitStatus),
    /// Every descendant has.
    Empty,
}

impl Tree {
    /// The tree of a child that has just been started, and is the only one.
    pub fn of(child: Pid) -> Self {
        let (sender, events) = channel();
        thread::spawn(move || {
            // What has lost its parent is a child too: without children there are
            // no descendants. Nobody listens to a tree that is left.
            while let Ok(ended) = wait(WaitOptions::empty()) {
                if let Some((pid, status)) = ended
                    && pid == child
                {
                    let _ = sender.send(Event::Ended(status));
                }
            }
            let _ = sender.send(Event::Empty);
        });
        Self { events }
    }

    /// Waits until the child ends: how, or `None` if it has not by `deadline`.
    pub fn wait(&self, deadline: Instant) -> Option<WaitStatus> {
        match self.next(deadline) {
            Some(Event::Ended(status)) => Some(status),
            Some(Event::Empty) | None => None,
        }
    }

    /// Gives what the child has left so long to end by itself, and ends it then.
    /// Returns the names of processes that had to be ended.
    pub fn end_what_stays(&self, grace: Duration) -> Result<Vec<String>> {
        if self.is_empty(Instant::now() + grace) {
            return Ok(Vec::new());
        }
        let stayed = names()?;
        self.end(grace)?;
        Ok(stayed)
    }

    /// Ends every process: those that clean up have so long for that.
    ///
    /// # Errors
    ///
    /// If one does not end even when it is killed: the kernel does not let it.
    pub fn end(&self, grace: Duration) -> Result<()> {
        signal(Signal::TERM)?;
        if self.is_empty(Instant::now() + grace) {
            return Ok(());
        }
        // One that is killed cannot start another, but one not yet killed can.
        for _ in 0..KILLS {
            signal(Signal::KILL)?;
            if self.is_empty(Instant::now() + MOMENT) {
                return Ok(());
            }
        }
        bail!("processes do not end: {}", names()?.join(", "))
    }

    /// Whether every process has ended by `deadline`.
    fn is_empty(&self, deadline: Instant) -> bool {
        loop {
            match self.next(deadline) {
                Some(Event::Ended(_)) => {}
                Some(Event::Empty) => return true,
                None => return false,
            }
        }
    }

    fn next(&self, deadline: Instant) -> Option<Event> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(left) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            // It was told before.
            Err(RecvTimeoutError::Disconnected) => Some(Event::Empty),
        }
    }
}

/// Has a signal that asks this process to end end every descendant first, which has
/// so long to clean up.
pub fn end_when_asked(grace: Duration) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("catch signals")?;
    thread::spawn(move || {
        if let Some(number) = signals.forever().next() {
            IS_ASKED.store(true, Ordering::Relaxed);
            let deadline = Instant::now() + grace;
            let _ = signal(Signal::TERM);
            // Another thread takes their status.
            while Instant::now() < deadline && names().is_ok_and(|names| !names.is_empty()) {
                thread::sleep(MOMENT / 10);
            }
            let _ = signal(Signal::KILL);
            std::process::exit(128 + number);
        }
    });
    Ok(())
}

/// Returns unless this process has been asked to end, and is about to.
pub fn go_on() {
    while IS_ASKED.load(Ordering::Relaxed) {
        thread::park();
    }
}

fn names() -> Result<Vec<String>> {
    Ok(descendants()?.into_iter().map(|(_, name)| name).collect())
}

fn signal(signal: Signal) -> Result<()> {
    for (pid, _) in descendants()? {
        match kill_process(pid, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("signal process {pid:?}")),
        }
    }
    Ok(())
}

/// All descendants that have not ended, by id and name.
fn descendants() -> Result<Vec<(Pid, String)>> {
    let processes = processes()?;
    let mut found = Vec::new();
    let mut parents = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        for process in processes.iter().filter(|process| process.parent == parent) {
            parents.push(process.pid);
            if let Some(pid) = Pid::from_raw(process.pid)
                && !process.has_ended
            {
                found.push((pid, process.name.clone()));
            }
        }
    }
    Ok(found)
}

struct Process {
    pid: i32,
    parent: i32,
    name: String,
    has_ended: bool,
}

/// Every process of the host: proc_pid_stat(5).
fn processes() -> Result<Vec<Process>> {
    let entries = fs::read_dir("/proc").context("list /proc")?;
    Ok(entries
        .filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let state = fields.next()?;
            Some(Process {
                pid,
                parent: fields.next()?.parse().ok()?,
                name: name.to_owned(),
                has_ended: matches!(state, "Z" | "X"),
            })
        })
        .collect())
}
