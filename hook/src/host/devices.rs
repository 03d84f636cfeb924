//! The network devices of the calling thread's network namespace.

use std::io;

use netlink_packet_core::NlasIterator;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;

use super::netlink;

/// Kinds of devices whose ports hand every packet on to them.
const MASTERS: [&str; 4] = ["bridge", "bond", "team", "openvswitch"];

/// `struct ifinfomsg`, in bytes.
const HEADER: usize = 16;
/// The offset of its `ifi_index`.
const INDEX: usize = 4;
/// `IFLA_IFNAME`
const NAME: u16 = 3;
/// `IFLA_LINKINFO`
const INFO: u16 = 18;
/// `IFLA_INFO_KIND`
const KIND: u16 = 1;
/// `IFLA_INFO_SLAVE_KIND`
const SLAVE_KIND: u16 = 4;

/// `LOOPBACK_IFINDEX`: the loopback device of every network namespace.
pub const LOOPBACK: u32 = 1;

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it belongs to a bridge, bond, team or switch, through which its packets
    /// enter the host.
    pub is_port: bool,
    /// Whether it is a VRF (virtual routing and forwarding) or belongs to one: only sockets
    /// that are bound to it, or to the VRF, can use its addresses.
    pub is_in_vrf: bool,
}

/// Lists all devices.
///
/// # Errors
///
/// If the kernel cannot be asked (RTM_GETLINK).
pub fn list() -> io::Result<Vec<Device>> {
    let all = netlink::list(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(all.iter().filter_map(|payload| device(payload)).collect())
}

/// Returns the device with this index; `None` if there is none.
///
/// # Errors
///
/// If the kernel cannot be asked (RTM_GETLINK).
pub fn with_index(index: u32) -> io::Result<Option<Device>> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    match netlink::get(RouteNetlinkMessage::GetLink(message)) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        found => Ok(found?.iter().find_map(|payload| device(payload))),
    }
}

/// Parses the device of one message; `None` if it is malformed.
fn device(payload: &[u8]) -> Option<Device> {
    let index = payload.get(INDEX..)?.first_chunk()?;
    let (mut name, mut is_port, mut is_in_vrf) = (String::new(), false, false);
    for attribute in NlasIterator::new(payload.get(HEADER..)?) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            NAME => name = text(attribute.value()),
            INFO => {
                let info = attribute.value();
                is_port = MASTERS.iter().any(|kind| has(info, SLAVE_KIND, kind));
                is_in_vrf = has(info, KIND, "vrf") || has(info, SLAVE_KIND, "vrf");
            }
            _ => {}
        }
    }
    let index = u32::from_ne_bytes(*index);
    Some(Device {
        index,
        name,
        is_port,
        is_in_vrf,
    })
}

/// Returns whether an attribute of IFLA_LINKINFO has this value.
fn has(info: &[u8], attribute: u16, value: &str) -> bool {
    let mut attributes = NlasIterator::new(info).filter_map(Result::ok);
    attributes.any(|found| found.kind() == attribute && text(found.value()) == value)
}

fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|&byte| byte == 0).next();
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}
