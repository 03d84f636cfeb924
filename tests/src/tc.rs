//! Programs at the ingress of network devices: by tcx from Linux 6.6 on, before that
//! as filters of the clsact qdisc, tc-bpf(8).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, Result as IoResult};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use libc::{NLM_F_CREATE, NLM_F_EXCL, RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWQDISC, RTM_NEWTFILTER};
use serde_json::Value;

use crate::bpf::{self, EXIT};
use crate::net::ip;
use crate::netlink::{self, attribute, find, word};
use crate::program;

/// `BPF_TCX_INGRESS` of `enum bpf_attach_type`.
const TCX_INGRESS: u32 = 46;
/// `TC_H_CLSACT`: what a clsact qdisc belongs to.
const CLSACT: u32 = 0xffff_fff1;
/// Its own handle.
const QDISC: u32 = 0xffff_0000;
/// `TC_H_MIN_INGRESS` of it: where the filters of ingress are.
const INGRESS: u32 = 0xffff_fff2;
/// `struct tcmsg`, in bytes.
const MESSAGE: usize = 20;
/// Where its `tcm_ifindex` is.
const INDEX: usize = 4;
/// `ETH_P_ALL`
const ALL: u16 = 3;
/// `TCA_KIND`, `TCA_OPTIONS`
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
/// `TCA_BPF_FD`, `TCA_BPF_NAME`, `TCA_BPF_FLAGS`, `TCA_BPF_ID`
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const BPF_ID: u16 = 11;
/// `TCA_BPF_FLAG_ACT_DIRECT`
const DIRECT: u32 = 1;

/// A network device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether its packets are those of another device: a bridge, for example.
    pub is_port: bool,
}

/// All devices of the calling thread's network namespace.
pub fn devices() -> Result<Vec<Device>> {
    let links: Vec<Value> = serde_json::from_str(&ip(&["-json", "link", "show"], "")?)?;
    let device = |link: &Value| {
        Some(Device {
            index: link["ifindex"].as_u64()?.try_into().ok()?,
            name: link["ifname"].as_str()?.to_owned(),
            is_port: link["master"].is_string(),
        })
    };
    links
        .iter()
        .map(|link| device(link).with_context(|| format!("understand {link}")))
        .collect()
}

/// The index of a device, by its name.
pub fn index(name: &str) -> Result<u32> {
    let device = devices()?.into_iter().find(|device| device.name == name);
    Ok(device.with_context(|| format!("find device {name}"))?.index)
}

/// The programs at the ingress of each device that has some, in the order in which
/// they run.
pub fn attached() -> Result<BTreeMap<String, Vec<u32>>> {
    let mut found = BTreeMap::new();
    for device in devices()? {
        let ids = programs(device.index)
            .with_context(|| format!("query the programs of device {}", device.name))?;
        if !ids.is_empty() {
            found.insert(device.name, ids);
        }
    }
    Ok(found)
}

/// The names of the devices that have a clsact qdisc.
pub fn qdiscs() -> Result<BTreeSet<String>> {
    let all = netlink::list(RTM_GETQDISC, &[0; MESSAGE]).context("list the qdiscs")?;
    let devices = devices()?;
    let device = |message: &Vec<u8>| {
        let kind = find(message.get(MESSAGE..)?, KIND)?;
        let index = word(message, INDEX)?;
        let device = devices.iter().find(|device| device.index == index)?;
        kind.starts_with(b"clsact").then(|| device.name.clone())
    };
    Ok(all.iter().filter_map(device).collect())
}

/// Whether this kernel has tcx (Linux 6.6).
pub fn has_tcx() -> Result<bool> {
    const LOOPBACK: u32 = 1;
    match tcx_programs(LOOPBACK) {
        Err(error) if is(&error, libc::EINVAL) => Ok(false),
        queried => Ok(queried.map(|_| true)?),
    }
}

fn programs(device: u32) -> IoResult<Vec<u32>> {
    match tcx_programs(device) {
        Err(error) if is(&error, libc::EINVAL) => filters(device),
        queried => queried,
    }
}

/// The member `query` of `union bpf_attr`, of Linux 6.6: tcx writes to its end,
/// however short the caller says that it is.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    device: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

fn tcx_programs(device: u32) -> IoResult<Vec<u32>> {
    let mut ids = [0_u32; 64];
    let mut attr = QueryAttr {
        device,
        attach_type: TCX_INGRESS,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len().try_into().map_err(Error::other)?,
        ..QueryAttr::default()
    };
    match bpf::bpf(bpf::PROG_QUERY, &mut attr) {
        // There never was one.
        Err(error) if is(&error, libc::ENOENT) => return Ok(Vec::new()),
        queried => queried?,
    };
    let count = usize::try_from(attr.count).map_err(Error::other)?;
    Ok(ids[..count].to_vec())
}

fn filters(device: u32) -> IoResult<Vec<u32>> {
    let all = match netlink::list(RTM_GETTFILTER, &message(device, 0, INGRESS, 0)) {
        // There is no such qdisc.
        Err(error) if is(&error, libc::EINVAL) => Vec::new(),
        listed => listed?,
    };
    let id = |message: &Vec<u8>| word(find(find(message.get(MESSAGE..)?, OPTIONS)?, BPF_ID)?, 0);
    Ok(all.iter().filter_map(id).collect())
}

/// `struct tcmsg`
fn message(device: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, device, handle, parent, info]
        .map(u32::to_ne_bytes)
        .concat()
}

/// What a program says of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    /// It goes on, to the next program first: `TC_ACT_UNSPEC`.
    Next = -1,
    /// It goes on, past the programs that follow: `TC_ACT_OK`.
    Pass = 0,
}

/// Where a program is put.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Before those that are there.
    First,
    /// After those that are there.
    Last,
}

/// A program of somebody else. A device to which it is attached keeps it once this is
/// dropped.
#[derive(Debug)]
pub struct Foreign {
    program: OwnedFd,
}

impl Foreign {
    /// One that says this of all packets.
    pub fn new(verdict: Verdict) -> Result<Self> {
        // (u32) r0 = verdict
        let program = [(0xb4, 0, 0, verdict as i32), EXIT];
        Ok(Self {
            program: bpf::load_classifier(&program).context("load a program")?,
        })
    }

    /// Puts it at the ingress of a device of the calling thread's network namespace.
    pub fn attach(&self, device: u32, place: Place) -> Result<()> {
        if has_tcx()? {
            // `BPF_F_BEFORE`, `BPF_F_AFTER`
            let flags = match place {
                Place::First => 1 << 3,
                Place::Last => 1 << 4,
            };
            let program = self.program.as_fd();
            return bpf::attach_at(program, device, TCX_INGRESS, flags);
        }
        let create = NLM_F_CREATE | NLM_F_EXCL;
        let clsact = [
            message(device, QDISC, CLSACT, 0),
            attribute(KIND, b"clsact\0"),
        ];
        match netlink::change(RTM_NEWQDISC, create, &clsact.concat()) {
            Err(error) if is(&error, libc::EEXIST) => {}
            made => made.context("make a clsact qdisc")?,
        }
        // Of filters of one priority the latest runs first.
        let priority: u32 = match place {
            Place::First => 1,
            Place::Last => 0xffff,
        };
        let info = priority << 16 | u32::from(ALL.to_be());
        let options = [
            attribute(BPF_FD, &self.program.as_raw_fd().to_ne_bytes()),
            attribute(BPF_NAME, b"foreign\0"),
            attribute(BPF_FLAGS, &DIRECT.to_ne_bytes()),
        ];
        let filter = [
            message(device, 0, INGRESS, info),
            attribute(KIND, b"bpf\0"),
            attribute(OPTIONS, &options.concat()),
        ];
        netlink::change(RTM_NEWTFILTER, create, &filter.concat()).context("make a filter")
    }

    /// Its id.
    pub fn id(&self) -> Result<u32> {
        program::id(&self.program)
    }

    /// Fails unless it has run while the kernel counted that.
    pub fn assert_ran(&self) -> Result<()> {
        let runs = program::runs(&self.program)?.unwrap_or_default();
        ensure!(runs > 0, "program {} has not run", self.id()?);
        Ok(())
    }
}

fn is(error: &Error, errno: i32) -> bool {
    error.raw_os_error() == Some(errno)
}
