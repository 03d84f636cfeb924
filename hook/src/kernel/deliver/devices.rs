//! The network devices of the calling thread's network namespace.

use std::io;

use netlink_packet_core::NlasIterator;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;

use crate::host::netlink;

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
/// `IFLA_INFO_SLAVE_KIND`
const SLAVE_KIND: u16 = 4;

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it belongs to a bridge, bond, team or switch, through which its packets
    /// enter the host.
    pub is_port: bool,
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

/// Parses the device of one message; `None` if it is malformed.
fn device(payload: &[u8]) -> Option<Device> {
    let index = payload.get(INDEX..)?.first_chunk()?;
    let (mut name, mut is_port) = (String::new(), false);
    for attribute in NlasIterator::new(payload.get(HEADER..)?) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            NAME => name = text(attribute.value()),
            INFO => is_port = has_master(attribute.value()),
            _ => {}
        }
    }
    let index = u32::from_ne_bytes(*index);
    Some(Device {
        index,
        name,
        is_port,
    })
}

fn has_master(info: &[u8]) -> bool {
    let mut attributes = NlasIterator::new(info).filter_map(Result::ok);
    attributes.any(|attribute| {
        attribute.kind() == SLAVE_KIND && MASTERS.contains(&text(attribute.value()).as_str())
    })
}

fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|&byte| byte == 0).next();
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}
