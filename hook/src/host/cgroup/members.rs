//! Checks that a cgroup holds only the container's processes.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::Pid;

use super::{Cgroup, read, tree};

/// How many times to follow a process's parents, since one of them may end meanwhile.
const TRIES: usize = 4;

/// The longest chain of parents that is followed.
const GENERATIONS: usize = 1 << 12;

/// Which processes may be in the cgroup of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    /// Its descendants.
    Descendants,
    /// Its descendants, and processes that share its PID namespace, unless that is ours:
    /// a process exec'd into a container descends from the engine.
    Namespace,
}

impl Kin {
    /// What to do about a cgroup that is shared with others.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Descendants => {
                "give the container a cgroup of its own (podman: without --cgroups=disabled)"
            }
            Self::Namespace => "to select all processes in it, use --cgroup PATH",
        }
    }
}

/// Refuses a cgroup that holds, child cgroups included, a process that is not kin of
/// `init`, or that does not hold `init` itself.
pub(super) fn check(cgroup: &Cgroup, init: Pid, kin: Kin) -> Result<()> {
    let mut scan = Scan {
        kin,
        init: init.as_raw_pid(),
        known: BTreeSet::new(),
        present: false,
        namespace: None,
    };
    let name = Path::new(&cgroup.name);
    scan.cgroup(name, cgroup.fd())?;
    tree::walk(cgroup.fd(), name, |path, fd| scan.cgroup(path, fd))?;
    if !scan.present {
        bail!(
            "pid {init} is not in cgroup {}: it ended or moved in the meantime",
            cgroup.name
        );
    }
    Ok(())
}

struct Scan {
    kin: Kin,
    init: i32,
    /// Processes known to descend from `init`.
    known: BTreeSet<i32>,
    /// Whether `init` was found.
    present: bool,
    /// The PID namespace whose processes are kin, once looked up.
    namespace: Option<Option<(u64, u64)>>,
}

enum Descent {
    Kin,
    Gone,
    /// With the name of the process.
    Foreign(String),
}

impl Scan {
    fn cgroup(&mut self, path: &Path, fd: BorrowedFd<'_>) -> Result<()> {
        let name = path.display();
        let members = match read(fd, "cgroup.procs") {
            Ok(members) => members,
            Err(error) if tree::vanished(error) => return Ok(()),
            Err(Errno::OPNOTSUPP) => bail!(
                "cgroup {name} is threaded, so its processes cannot be listed: \
                 use a cgroup of type domain"
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("read cgroup.procs of cgroup {name}"));
            }
        };
        for member in members
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let pid = number(member)
                .with_context(|| format!("read cgroup.procs of cgroup {name}: not a number"))?;
            if pid == self.init {
                self.present = true;
                continue;
            }
            if pid == 0 {
                bail!(
                    "cgroup {name} holds a process of another PID namespace: {}",
                    self.kin.remedy()
                );
            }
            if let Descent::Foreign(command) = self.descent(pid)?
                && !self.shares_namespace(pid)
            {
                bail!(
                    "cgroup {name} holds process {pid} ({}), which does not descend from pid {}: {}",
                    command.escape_debug(),
                    self.init,
                    self.kin.remedy()
                );
            }
        }
        Ok(())
    }

    fn descent(&mut self, pid: i32) -> Result<Descent> {
        let mut command = String::new();
        for _ in 0..TRIES {
            let mut chain = Vec::new();
            let mut at = pid;
            loop {
                if at == self.init || self.known.contains(&at) {
                    self.known.extend(chain);
                    return Ok(Descent::Kin);
                }
                if at == 0 || chain.len() == GENERATIONS {
                    return Ok(Descent::Foreign(command));
                }
                match stat(at)? {
                    Some(stat) => {
                        if at == pid {
                            command = stat.command;
                        }
                        chain.push(at);
                        at = stat.parent;
                    }
                    None if at == pid => return Ok(Descent::Gone),
                    // Its children have a new parent now: look again.
                    None => break,
                }
            }
        }
        Ok(Descent::Foreign(command))
    }

    fn shares_namespace(&mut self, pid: i32) -> bool {
        if self.kin == Kin::Descendants {
            return false;
        }
        let init = self.init;
        let wanted = *self.namespace.get_or_insert_with(|| {
            let theirs = pid_namespace(&init.to_string())?;
            let ours = pid_namespace("self")?;
            (theirs != ours).then_some(theirs)
        });
        wanted.is_some() && pid_namespace(&pid.to_string()) == wanted
    }
}

/// Returns the device and inode number of a process's PID namespace; `None` if it has
/// ended, which makes the process foreign.
fn pid_namespace(pid: &str) -> Option<(u64, u64)> {
    let stat = rustix::fs::stat(format!("/proc/{pid}/ns/pid")).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// The fields used of /proc/PID/stat, proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Name, up to 15 bytes of anything.
    command: String,
    /// Parent's pid; 0 if it has none that we see.
    parent: i32,
}

/// Reads /proc/PID/stat of a process; `None` if it has ended.
fn stat(pid: i32) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    match read(CWD, &path) {
        Ok(text) => Ok(Some(
            parse(&text).with_context(|| format!("{path} is malformed"))?,
        )),
        Err(Errno::NOENT | Errno::SRCH) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {path}")),
    }
}

/// Parses `PID (COMMAND) STATE PARENT …`. The command may contain blanks and parentheses;
/// nothing after it does.
fn parse(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let command = text.get(open + 1..close)?;
    let mut fields = text[close + 1..].split(|byte| *byte == b' ').skip(2);
    Some(Stat {
        command: String::from_utf8_lossy(command).into_owned(),
        parent: number(fields.next()?)?,
    })
}

fn number(text: &[u8]) -> Option<i32> {
    let number = str::from_utf8(text).ok()?.parse().ok()?;
    (number >= 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_command_may_hold_anything() {
        let parsed = |text: &str| parse(text.as_bytes()).map(|stat| (stat.command, stat.parent));
        assert_eq!(parsed("7 (sh) S 3 7 7 0 -1"), Some(("sh".into(), 3)));
        assert_eq!(parsed("7 (a) R 9 () S 3 7"), Some(("a) R 9 (".into(), 3)));
        assert_eq!(parsed("2 (kthreadd) S 0 0 0"), Some(("kthreadd".into(), 0)));
        assert_eq!(parsed("7 (sh S 3"), None);
        assert_eq!(parsed("7 )sh( S 3"), None);
        assert_eq!(parsed("7 (sh) S -3"), None);
        assert_eq!(parsed("7 (sh) S"), None);
        assert_eq!(parsed(""), None);
    }

    proptest! {
        #[test]
        fn the_parent_is_found(command in "\\PC{0,15}", parent in 0..i32::MAX) {
            let text = format!("7 ({command}) S {parent} 7 7 0 -1 4194560 0 0");
            prop_assert_eq!(parse(text.as_bytes()), Some(Stat { command, parent }));
        }

        #[test]
        fn any_bytes_are_survived(text: Vec<u8>) {
            let _ = parse(&text);
        }
    }
}
