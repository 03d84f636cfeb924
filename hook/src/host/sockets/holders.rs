//! Which processes have which sockets, from /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::process::Pid;

/// A process that has a socket.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its id.
    pub pid: Pid,
    /// Its name; empty if it has ended.
    pub command: String,
}

/// Returns who has these sockets, by their inode numbers: for each the first of the
/// processes that has it. A process that ends meanwhile, or cannot be looked at, is left out.
pub fn holders(processes: &[Pid], wanted: &BTreeSet<u32>) -> BTreeMap<u32, Holder> {
    let mut all = BTreeMap::new();
    for &pid in processes {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let sockets = links.filter_map(|link| inode(link.to_str()?));
        let sockets: BTreeSet<u32> = sockets.filter(|inode| wanted.contains(inode)).collect();
        if sockets.is_empty() {
            continue;
        }
        // A program can give itself a name that is not UTF-8.
        let command = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        let command = String::from_utf8_lossy(command.trim_ascii_end()).into_owned();
        for socket in sockets {
            let holder = || Holder {
                pid,
                command: command.clone(),
            };
            all.entry(socket).or_insert_with(holder);
        }
    }
    all
}

/// Returns the number in `socket:[NUMBER]`, as the link of a socket's descriptor reads.
fn inode(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn this_process_has_its_socket() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd()));
        let link = link.expect("a link");
        let inode = inode(link.to_str().expect("UTF-8")).expect("a socket's link");
        let own = rustix::process::getpid();
        let found = holders(&[own], &BTreeSet::from([inode]));
        assert_eq!(found.get(&inode).map(|holder| holder.pid), Some(own));
        assert!(holders(&[own], &BTreeSet::new()).is_empty());
    }
}
