//! Programs at the ingress of network devices before Linux 6.6: filters of the clsact
//! qdisc, tc-bpf(8).

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
};

use crate::host::netlink;

/// `TC_H_MAJ_MASK`, which identifies the qdisc; a device has only one.
const QDISC: u16 = 0xffff;
/// The priority of the filter that runs first.
const FIRST: u32 = 1;
/// `ETH_P_ALL`, network byte order.
const ALL: u32 = 0x0003_u16.to_be() as u32;
/// `struct tcmsg`, in bytes.
const HEADER: usize = 20;
/// `TCA_KIND`
const KIND: u16 = 1;
/// `TCA_OPTIONS`
const OPTIONS: u16 = 2;
/// `TCA_BPF_ID`
const PROGRAM_ID: u16 = 11;

/// A filter that runs a program.
#[derive(Debug)]
pub struct Filter {
    /// The program, by its id.
    pub program: u32,
    handle: TcHandle,
    /// Priority and protocol (`tcm_info`).
    info: u32,
}

/// Returns the filters at the ingress of a device, given by its index.
///
/// # Errors
///
/// If the kernel cannot be asked (RTM_GETTFILTER).
pub fn attached(device: u32) -> io::Result<Vec<Filter>> {
    let all = filters(device, TcHandle::MIN_INGRESS)?;
    Ok(all.iter().filter_map(|payload| filter(payload)).collect())
}

/// Attaches a program before those already there. The handle of its filter is the
/// program's id, so that two processes that do this at once create only one.
///
/// # Errors
///
/// EEXIST if it is there already; ENOENT or EOPNOTSUPP if the kernel has no such qdisc or
/// filter; ENODEV if there is no such device.
pub fn attach(program: BorrowedFd<'_>, id: u32, name: &str, device: u32) -> io::Result<()> {
    let mut qdisc = message(device, TcHandle::CLSACT, "clsact");
    qdisc.header.handle = handle(QDISC, 0);
    let create = NLM_F_CREATE | NLM_F_EXCL;
    match netlink::change(RouteNetlinkMessage::NewQueueDiscipline(qdisc), create) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
        made => made?,
    }
    let mut filter = message(device, parent(TcHandle::MIN_INGRESS), TcFilterBpf::KIND);
    filter.header.handle = id.into();
    filter.header.info = FIRST << 16 | ALL;
    filter.attributes.push(TcAttribute::Options(
        [
            TcFilterBpfOption::ProgFd(program.as_raw_fd().cast_unsigned()),
            TcFilterBpfOption::ProgName(name.to_owned()),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ]
        .map(TcOption::Bpf)
        .into(),
    ));
    match netlink::change(
        RouteNetlinkMessage::NewTrafficFilter(filter.clone()),
        create,
    ) {
        // The filter that comes first now is of another kind or protocol: go after those
        // that were given a priority (`tcf_auto_prio`).
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            filter.header.info = ALL;
            netlink::change(RouteNetlinkMessage::NewTrafficFilter(filter), create)
        }
        made => made,
    }
}

/// Detaches a filter, and removes the qdisc if no other filter is left.
///
/// # Errors
///
/// If the kernel refuses it.
pub fn detach(filter: &Filter, device: u32) -> io::Result<()> {
    let mut found = message(device, parent(TcHandle::MIN_INGRESS), TcFilterBpf::KIND);
    found.header.handle = filter.handle;
    found.header.info = filter.info;
    netlink::change(RouteNetlinkMessage::DelTrafficFilter(found), 0)?;
    for direction in [TcHandle::MIN_INGRESS, TcHandle::MIN_EGRESS] {
        if !filters(device, direction)?.is_empty() {
            return Ok(());
        }
    }
    let mut qdisc = message(device, TcHandle::CLSACT, "clsact");
    qdisc.header.handle = handle(QDISC, 0);
    match netlink::change(RouteNetlinkMessage::DelQueueDiscipline(qdisc), 0) {
        // It is not a clsact qdisc, so it is somebody else's.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        removed => removed,
    }
}

fn filters(device: u32, direction: u16) -> io::Result<Vec<Vec<u8>>> {
    let mut all = TcMessage::with_index(device.cast_signed());
    all.header.parent = parent(direction);
    match netlink::list(&RouteNetlinkMessage::GetTrafficFilter(all)) {
        // There is no such qdisc.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(Vec::new()),
        listed => listed,
    }
}

/// Reads a filter with a program from one message.
fn filter(payload: &[u8]) -> Option<Filter> {
    /// The offsets of `tcm_handle` and `tcm_info`.
    const HANDLE: usize = 8;
    const INFO: usize = 16;
    let word = |at: usize| Some(u32::from_ne_bytes(*payload.get(at..)?.first_chunk()?));
    let mut program = None;
    for attribute in NlasIterator::new(payload.get(HEADER..)?) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            KIND if !attribute.value().starts_with(TcFilterBpf::KIND.as_bytes()) => return None,
            OPTIONS => program = program_id(attribute.value()),
            _ => {}
        }
    }
    Some(Filter {
        program: program?,
        handle: word(HANDLE)?.into(),
        info: word(INFO)?,
    })
}

fn program_id(options: &[u8]) -> Option<u32> {
    let mut options = NlasIterator::new(options).filter_map(Result::ok);
    let id = options.find(|option| option.kind() == PROGRAM_ID)?;
    Some(u32::from_ne_bytes(id.value().try_into().ok()?))
}

fn message(device: u32, parent: TcHandle, kind: &str) -> TcMessage {
    let mut message = TcMessage::with_index(device.cast_signed());
    message.header.parent = parent;
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    message
}

const fn parent(direction: u16) -> TcHandle {
    handle(QDISC, direction)
}

const fn handle(major: u16, minor: u16) -> TcHandle {
    TcHandle { major, minor }
}

#[cfg(test)]
mod tests;
