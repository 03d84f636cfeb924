//! Measures the committed object, and its programs once they are loaded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, ensure};
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind};
use oci_bind_hook_tests::bpf::{self, SK_LOOKUP};
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, Hook};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::{Net, has_dual};
use oci_bind_hook_tests::program::{self, Size};

const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/oci-bind-hook.bpf.o");
/// Bytes of an instruction (`struct bpf_insn`).
const INSTRUCTION: u64 = 8;
/// The section of the functions that programs call.
const SHARED: &str = ".text";
/// The only program that is not pinned, and is loaded for a network namespace.
const STEER: &str = "steer";

/// Instructions in the object, by the name of the program.
pub type Own = BTreeMap<String, u64>;
/// The same, with what the kernel says; shared functions have nothing.
pub type All = BTreeMap<String, (u64, Option<Size>)>;

/// The series and the architecture of this kernel: `6.18 x86_64`.
pub fn kernel() -> Result<String> {
    let name = rustix::system::uname();
    let (release, machine) = (name.release().to_str()?, name.machine().to_str()?);
    let mut parts = release.split(['.', '-']);
    let (major, minor) = (parts.next(), parts.next());
    let major = major.context("read the kernel's version")?;
    let minor = minor.context("read the kernel's version")?;
    Ok(format!("{major}.{minor} {machine}"))
}

/// Measures the object.
pub fn own() -> Result<Own> {
    let bytes = fs::read(OBJECT).with_context(|| format!("read {OBJECT}"))?;
    let elf = ElfFile64::<object::Endianness>::parse(&*bytes)
        .with_context(|| format!("understand {OBJECT}"))?;
    let mut found = Own::new();
    for section in elf.sections() {
        if section.kind() != SectionKind::Text {
            continue;
        }
        let in_it = |symbol: &object::read::elf::ElfSymbol64<'_, '_>| {
            symbol.section_index() == Some(section.index()) && symbol.is_global()
        };
        let name = match section.name()? {
            SHARED => SHARED,
            other => elf
                .symbols()
                .find(in_it)
                .with_context(|| format!("find the program in section {other}"))?
                .name()?,
        };
        found.insert(name.to_owned(), section.size() / INSTRUCTION);
    }
    Ok(found)
}

/// Measures the object, and its programs as the hook loads them here.
pub fn all() -> Result<All> {
    let own = own()?;
    Net::isolated(move |_| {
        host::private_bpffs()?;
        let (hook, cgroup) = (Hook::new()?, Cgroup::new()?);
        // With both addresses the namespace gets its program too.
        hook.attach(&cgroup, BOTH)?;
        let measured = own
            .into_iter()
            .map(|(name, instructions)| {
                let size = open(&name)?.map(program::size).transpose()?;
                Ok((name, (instructions, size)))
            })
            .collect();
        hook.detach(&cgroup)?;
        hook.unload()?;
        measured
    })
}

/// A program that is loaded.
fn open(name: &str) -> Result<Option<OwnedFd>> {
    match name {
        SHARED => Ok(None),
        STEER if !has_dual() => Ok(None),
        STEER => {
            let namespace = File::open("/proc/thread-self/ns/net")?;
            let ids = bpf::query(namespace, SK_LOOKUP).context("query the namespace")?;
            ensure!(ids.len() == 1, "not one program in the namespace: {ids:?}");
            program::by_id(ids[0]).map(Some)
        }
        _ => {
            let pins = host::pins()?;
            ensure!(pins.len() == 1, "not one set of pins: {pins:?}");
            bpf::open_pin(&pins[0].join(name)).map(Some)
        }
    }
}
