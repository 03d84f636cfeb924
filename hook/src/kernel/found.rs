//! The hook's programs at cgroups, found by asking the kernel. They hold wherever they are
//! pinned: here, in another bpffs, or nowhere any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use aya_obj::generated::bpf_map_type;
use oci_bind_hook_ebpf::abi::{COUNTERS_MAP, POLICY_MAP, Policy, flag};

use crate::host::privileges::REMEDY;
use crate::kernel::catalogue::{FORMER, OWN_MAPS, PROGRAMS, Program};
use crate::kernel::programs::{Opened, Programs};
use crate::kernel::syscall::{self, object};

/// The programs of one version, which share their maps.
#[derive(Debug, Default)]
pub struct Version {
    /// The hash of its object; `None` if it is not pinned in this bpffs.
    pub name: Option<String>,
    /// Its map of policies. `None` if only programs that do not use it are attached.
    pub policy: Option<OwnedFd>,
    /// Its map of counters, as with `policy`.
    pub counters: Option<OwnedFd>,
    /// The programs that it has; if it is not pinned, those that this version has.
    pub programs: Vec<Program>,
    /// The ids of the maps by which its programs are known.
    maps: BTreeSet<u32>,
}

impl Version {
    /// Whether this version uses the map with this id.
    pub fn has_map(&self, id: u32) -> bool {
        self.maps.contains(&id)
    }

    /// Returns this version's policy of the cgroup with this id. `None` if it cannot be
    /// read: the layout of another version may differ.
    ///
    /// # Errors
    ///
    /// If the kernel does not let us read the map.
    pub fn policy_of(&self, cgroup: u64) -> Result<Option<Policy>> {
        let policy = readable::<Policy>(self.policy.as_ref())?
            .map(|map| syscall::read_policy(map, cgroup))
            .transpose()?;
        let has_layout = |policy: &Policy| policy.flags & flag::LAYOUT_MASK == flag::LAYOUT;
        Ok(policy.filter(has_layout))
    }
}

/// Returns a map if its values have the size of `T`: another version's may not.
pub(super) fn readable<T>(map: Option<&OwnedFd>) -> Result<Option<BorrowedFd<'_>>> {
    let Some(map) = map else {
        return Ok(None);
    };
    let size = syscall::value_size(map.as_fd()).context("get the value size of a map")?;
    Ok((size == size_of::<T>()).then(|| map.as_fd()))
}

/// What one version has at a cgroup.
#[derive(Debug)]
pub struct Found {
    /// The index of the version in [`Finder::version`].
    pub version: usize,
    /// Its programs there, in the order of attachment.
    pub programs: Vec<Rc<Opened>>,
}

/// Recognises programs, and remembers those that it has seen.
#[derive(Debug, Default)]
pub struct Finder {
    versions: Vec<Version>,
    /// By id; `None` for somebody else's program.
    known: BTreeMap<u32, Option<(usize, Rc<Opened>)>>,
    has_pins: bool,
}

impl Finder {
    /// Returns a version that has been found.
    pub fn version(&self, index: usize) -> &Version {
        &self.versions[index]
    }

    /// Returns what is attached to the cgroup itself, by version. A caller who needs it to
    /// stay so holds the lock.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked, or the pins cannot be read. A cgroup that is gone is
    /// an error of the kind `NotFound`.
    pub fn at(&mut self, cgroup: BorrowedFd<'_>) -> Result<Vec<Found>> {
        let mut all: BTreeMap<usize, Vec<Rc<Opened>>> = BTreeMap::new();
        for program in PROGRAMS.into_iter().chain(FORMER) {
            let ids = syscall::attached(cgroup, program.attach_type)
                .with_context(|| format!("list the {} programs: {REMEDY}", program.name))?;
            for id in ids {
                if let Some((version, attached)) = self.recognise(id, program)? {
                    all.entry(version).or_default().push(attached);
                }
            }
        }
        let found = all.into_iter();
        Ok(found
            .map(|(version, programs)| Found { version, programs })
            .collect())
    }

    /// Returns a program that is attached where `place` is; `None` if it is not the hook's.
    fn recognise(&mut self, id: u32, place: Program) -> Result<Option<(usize, Rc<Opened>)>> {
        self.read_pins()?;
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let examined = self.examine(id, place).with_context(|| {
            format!("look at the {} program with id {id}: {REMEDY}", place.name)
        })?;
        self.known.insert(id, examined.clone());
        Ok(examined)
    }

    /// Looks at a program that is not pinned here. It is the hook's if it has the name of
    /// the one for this place, and uses a map of the hook's.
    fn examine(&mut self, id: u32, place: Program) -> Result<Option<(usize, Rc<Opened>)>> {
        let fd = match object::program(id) {
            Ok(fd) => fd,
            // Detached in the meantime.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let info = object::program_info(fd.as_fd())?;
        if info.name != place.name {
            return Ok(None);
        }
        let mut maps = Vec::new();
        for id in info.maps {
            let map = object::map(id)?;
            maps.extend(own(map)?.map(|map| (id, map)));
        }
        if maps.is_empty() {
            return Ok(None);
        }
        let version = self.version_with(maps);
        Ok(Some((version, Rc::new(Opened::new(place, fd)))))
    }

    /// Returns the version that has one of these maps, which gets those that it lacks.
    fn version_with(&mut self, maps: Vec<(u32, OwnMap)>) -> usize {
        let is_it = |version: &Version| maps.iter().any(|(id, ..)| version.maps.contains(id));
        let index = self.versions.iter().position(is_it).unwrap_or_else(|| {
            self.versions.push(Version {
                programs: PROGRAMS.to_vec(),
                ..Version::default()
            });
            self.versions.len() - 1
        });
        let version = &mut self.versions[index];
        for (id, map) in maps {
            version.maps.insert(id);
            match map {
                OwnMap::Policy(map) => _ = version.policy.get_or_insert(map),
                OwnMap::Counters(map) => _ = version.counters.get_or_insert(map),
                OwnMap::Other => {}
            }
        }
        index
    }

    /// Remembers the programs of every version that is pinned, at the first call: most
    /// cgroups have no programs at all.
    fn read_pins(&mut self) -> Result<()> {
        if self.has_pins {
            return Ok(());
        }
        for (_, pinned) in Programs::all_pinned()? {
            // With a pin missing, what is attached is looked at instead.
            let Some(counters) = pinned.counters()? else {
                continue;
            };
            let index = self.versions.len();
            let mut maps = BTreeSet::new();
            for map in [pinned.policy(), counters.as_fd()] {
                maps.insert(object::map_id(map).context("get the id of a pinned map")?);
            }
            let mut programs = Vec::new();
            for program in pinned.iter() {
                programs.push(***program);
                self.known
                    .insert(program.id()?, Some((index, Rc::clone(program))));
            }
            self.versions.push(Version {
                name: Some(pinned.version()),
                policy: Some(pinned.into_policy()),
                counters: Some(counters),
                programs,
                maps,
            });
        }
        self.has_pins = true;
        Ok(())
    }
}

/// A map that has a name of the hook's, whoever made it.
#[derive(Debug)]
enum OwnMap {
    Policy(OwnedFd),
    Counters(OwnedFd),
    Other,
}

/// Recognises a map; `None` if it is not the hook's. The kernel reads and writes as many bytes
/// as the type of a map and the size of its keys say: one that differs is never used.
fn own(map: OwnedFd) -> io::Result<Option<OwnMap>> {
    let info = object::map_info(map.as_fd())?;
    let is_storage =
        |map_type| info.map_type == map_type as u32 && info.key_size == size_of::<u64>();
    Ok(match info.name.as_str() {
        POLICY_MAP if is_storage(bpf_map_type::BPF_MAP_TYPE_CGROUP_STORAGE) => {
            Some(OwnMap::Policy(map))
        }
        COUNTERS_MAP if is_storage(bpf_map_type::BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE) => {
            Some(OwnMap::Counters(map))
        }
        name => OWN_MAPS.contains(&name).then_some(OwnMap::Other),
    })
}

/// Returns what `look` finds at the cgroup with this path; nothing if it was removed
/// meanwhile.
///
/// # Errors
///
/// Those of `look`.
pub fn unless_gone<T>(path: &Path, look: impl FnOnce() -> Result<Vec<T>>) -> Result<Vec<T>> {
    match look() {
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        found => found.with_context(|| format!("look at cgroup {}", path.display())),
    }
}

/// Whether an error of [`Finder::at`] says that the cgroup was removed meanwhile.
fn is_gone(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya::maps::MapData;

    /// As root: makes maps.
    #[test]
    fn a_map_of_another_shape_is_not_used() {
        let has = |map_type: bpf_map_type, key: u32, name: &str| {
            let size = u32::try_from(size_of::<Policy>()).expect("a short policy");
            let entries = u32::from(map_type == bpf_map_type::BPF_MAP_TYPE_PERCPU_HASH);
            let map = aya_obj::Map::new_from_params(map_type as u32, key, size, entries, 0);
            let map = MapData::create(map, name, None).expect("a map: run it as root");
            let map = map.fd().as_fd().try_clone_to_owned().expect("a copy");
            own(map).expect("its description")
        };
        let storage = bpf_map_type::BPF_MAP_TYPE_CGROUP_STORAGE;
        assert!(matches!(
            has(storage, 8, POLICY_MAP),
            Some(OwnMap::Policy(_))
        ));
        // Its key is the pair of id and attach type.
        assert!(matches!(has(storage, 16, POLICY_MAP), Some(OwnMap::Other)));
        // A read of it writes a value for each CPU.
        let per_cpu = bpf_map_type::BPF_MAP_TYPE_PERCPU_HASH;
        for name in [POLICY_MAP, COUNTERS_MAP] {
            assert!(
                matches!(has(per_cpu, 8, name), Some(OwnMap::Other)),
                "{name}"
            );
        }
        assert!(has(storage, 8, "other").is_none());
    }
}
