//! How another host reaches the test's own: through a device of each kind, with addresses
//! of a network that is only behind that device.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context as _, Result};
use oci_bind_hook_tests::far::{FAR6, Host};
use oci_bind_hook_tests::harness::skip;
use oci_bind_hook_tests::net::{CIP6, ip};
use oci_bind_hook_tests::routes::Routes;
use oci_bind_hook_tests::rules;
use oci_bind_hook_tests::tun::{self, Tunnel};

/// The kinds of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A veth pair.
    Veth,
    /// A bridge that has the container's addresses, with a veth pair as its port.
    Bridge,
    /// A VLAN.
    Vlan,
    /// One of several devices on another one, distinguished by its Ethernet address.
    Macvlan,
    /// A tunnel for frames, in datagrams.
    Vxlan,
    /// A tunnel for packets, in IPv4.
    Sit,
    /// A tunnel for packets, in IPv6.
    Ip6tnl,
    /// A tunnel that a program implements.
    Tun,
    /// IPsec tunnels, which have no device of their own.
    Esp,
}

/// All kinds.
pub const LINKS: [Link; 9] = [
    Link::Veth,
    Link::Bridge,
    Link::Vlan,
    Link::Macvlan,
    Link::Vxlan,
    Link::Sit,
    Link::Ip6tnl,
    Link::Tun,
    Link::Esp,
];

/// The end of the veth pair that stays, and the one that goes to the other host.
const CABLE: [&str; 2] = ["d0", "e0"];
/// The devices of other kinds.
const DEVICES: [&str; 2] = ["near0", "far0"];
/// The ends of tunnels.
const ENDS: [[&str; 2]; 2] = [
    ["198.18.0.1", "198.18.0.2"],
    ["2001:db8:300::1", "2001:db8:300::2"],
];
/// What is behind the IPsec tunnels.
const NETWORKS: [[&str; 2]; 2] = [
    ["192.0.2.10/32", "203.0.113.2/32"],
    ["2001:db8::10/128", "2001:db8:200::2/128"],
];
/// The test's own address at the device.
const NEAR6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x200, 0, 0, 0, 0, 1));
/// The minimum time between replies that nobody is at a port, in milliseconds.
const RATE_LIMIT: &str = "/proc/sys/net/ipv6/icmp/ratelimit";
/// What the other host adds: the routes to the container.
const WAYS: &str = "\
route add 192.0.2.10 via 203.0.113.1
route add 2001:db8::10 via 2001:db8:200::1
";
/// What the bridge takes over.
const TAKEN: &str = "\
addr del 192.0.2.10/24 dev v0
addr del 2001:db8::10/64 dev v0
addr add 192.0.2.10/32 dev near0
addr add 2001:db8::10/128 dev near0 nodad
";

/// Another host, and what carries packets between it and the test's.
pub struct Far {
    /// That host.
    pub host: Host,
    _carrier: Option<Tunnel>,
}

impl Link {
    /// Sets it up. Skips the trial if the kernel does not support it.
    pub fn set_up(self) -> Result<Far> {
        let (carrier, device) = if self == Self::Tun {
            let open = |name| tun::open(name).map_err(|error| skip(format!("no tun: {error}")));
            let [near, far] = DEVICES;
            (Some(Tunnel::between([open(near)?, open(far)?])?), far)
        } else {
            let [near, far] = CABLE;
            batch(&format!("link add {near} type veth peer name {far}\n"))?;
            (None, far)
        };
        let host = Host::with_interface(device, None)?;
        std::fs::write(RATE_LIMIT, "0").with_context(|| format!("write {RATE_LIMIT}"))?;
        self.set_up_side(0)?;
        host.within(|| self.set_up_side(1))?;
        // Addresses can be used once the other end of their link is up.
        Routes::watch()?.wait_for(&[NEAR6, CIP6])?;
        host.within(|| Routes::watch()?.wait_for(&[FAR6]))?;
        Ok(Far {
            host,
            _carrier: carrier,
        })
    }

    /// Everything on one side, in its network namespace: 0 is the test's, 1 the other
    /// host's.
    fn set_up_side(self, side: usize) -> Result<()> {
        let (cable, number) = (CABLE[side], side + 1);
        if self != Self::Tun {
            batch(&format!(
                "link set {cable} addrgenmode none\n\
                 link set {cable} up\n\
                 addr add 198.18.0.{number}/24 dev {cable}\n\
                 addr add 2001:db8:300::{number}/64 dev {cable} nodad\n"
            ))?;
        }
        let device = self.device(side)?;
        let more = match (side, self) {
            (0, Self::Bridge) => TAKEN,
            (0, _) => "",
            _ => WAYS,
        };
        batch(&format!(
            "link set lo up\n\
             link set {device} addrgenmode none\n\
             link set {device} up\n\
             addr add 203.0.113.{number}/24 dev {device}\n\
             addr add 2001:db8:200::{number}/64 dev {device} nodad\n\
             addr add fe80::{number}/64 dev {device} nodad\n\
             {more}"
        ))?;
        if self == Self::Esp {
            for (ends, networks) in ENDS.into_iter().zip(NETWORKS) {
                let own_first =
                    |[near, far]: [_; 2]| if side == 0 { [near, far] } else { [far, near] };
                let (ends, networks) = (own_first(ends), own_first(networks));
                rules::Tunnel { ends, networks }.set_up()?;
            }
        }
        Ok(())
    }

    /// The device that gets the addresses of one side. It is created, unless it is the end
    /// of the veth pair.
    fn device(self, side: usize) -> Result<&'static str> {
        let (cable, device) = (CABLE[side], DEVICES[side]);
        let ends = |[near, far]: [&str; 2]| match side {
            0 => format!("local {near} remote {far}"),
            _ => format!("local {far} remote {near}"),
        };
        let [over4, over6] = ENDS.map(ends);
        let link = match self {
            Self::Bridge if side == 0 => format!("{device} type bridge"),
            Self::Macvlan if side == 0 => format!("link {cable} name {device} type macvlan"),
            Self::Veth | Self::Esp | Self::Bridge | Self::Macvlan => return Ok(cable),
            Self::Tun => return Ok(device),
            Self::Vlan => format!("link {cable} name {device} type vlan id 5"),
            Self::Vxlan => format!("{device} type vxlan id 5 dstport 4789 dev {cable} {over4}"),
            Self::Sit => format!("{device} type sit mode any {over4}"),
            Self::Ip6tnl => format!("{device} type ip6tnl mode any {over6}"),
        };
        batch(&format!("link add {link}\n")).map_err(|error| {
            let text = format!("{error:#}");
            let reasons = ["Unknown device type", "not supported"];
            if reasons.iter().any(|reason| text.contains(reason)) {
                skip(format!("this kernel has no devices of the kind {self:?}"))
            } else {
                error
            }
        })?;
        if self == Self::Bridge {
            batch(&format!("link set {cable} master {device}\n"))?;
        }
        Ok(device)
    }
}

fn batch(lines: &str) -> Result<()> {
    ip(&["-batch", "-"], lines).map(drop)
}
