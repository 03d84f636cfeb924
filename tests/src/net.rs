//! Network namespaces with the addresses that the scenarios speak of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::harness::skip;
use crate::process::{self, Output};
use crate::routes::Routes;
use crate::socket::{Socket, UDP4};
use crate::sys;

/// The host's own IPv4 address.
pub const HOST4: IpAddr = v4(192, 0, 2, 1);
/// The IPv4 address of the container under test.
pub const CIP4: IpAddr = v4(192, 0, 2, 10);
/// The IPv4 address of another container.
pub const OTHER4: IpAddr = v4(192, 0, 2, 20);
/// The broadcast address of the network of these.
pub const NETWORK: IpAddr = v4(192, 0, 2, 255);
/// The broadcast address of any network.
pub const EVERYBODY: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);
/// Where an IPv4 peer listens.
pub const PEER4: IpAddr = peer4(100);
/// The host's own IPv6 address.
pub const HOST6: IpAddr = v6(0x1);
/// The IPv6 address of the container under test.
pub const CIP6: IpAddr = v6(0x10);
/// The IPv6 address of another container.
pub const OTHER6: IpAddr = v6(0x20);
/// Where an IPv6 peer listens.
pub const PEER6: IpAddr = peer6(100);
/// A link-local address of the only interface that has one.
pub const LINK6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10));
/// An address that nobody here has.
pub const NOBODY4: IpAddr = v4(203, 0, 113, 9);
/// An address that nobody here has.
pub const NOBODY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 9));
/// 0.0.0.0
pub const ANY4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// `::`
pub const ANY6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// 127.0.0.1
pub const LOOP4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// `::1`
pub const LOOP6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// One of 254 IPv4 addresses for peers.
pub const fn peer4(number: u8) -> IpAddr {
    v4(198, 51, 100, number)
}

/// One of many IPv6 addresses for peers. To bind there takes `IPV6_FREEBIND`.
pub const fn peer6(number: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(
        0x2001,
        0xdb8,
        0x100,
        0,
        0,
        0,
        0,
        number as u16,
    ))
}

/// The IPv4-mapped form of an IPv4 address.
pub const fn mapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
        IpAddr::V6(_) => address,
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))
}

/// The peers' networks are routed to this very host, by routes that make the
/// host's own address the source of what nobody has moved.
const SET_UP: &str = "\
link set lo up
link add v0 type veth peer name v1
link set v0 addrgenmode none
link set v1 addrgenmode none
link set v0 up
link set v1 up
addr add 192.0.2.1/24 dev v0
addr add 192.0.2.10/24 dev v0
addr add 192.0.2.20/24 dev v0
addr add 2001:db8::1/64 dev v0 nodad
addr add 2001:db8::10/64 dev v0 nodad
addr add 2001:db8::20/64 dev v0 nodad
addr add fe80::10/64 dev v0 nodad
route add local 198.51.100.0/24 dev lo src 192.0.2.1
route add local 2001:db8:100::/64 dev lo src 2001:db8::1
route add 224.0.0.0/4 dev v0 src 192.0.2.1
";

/// The network namespace of the calling thread.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    link: u32,
}

impl Net {
    /// Runs `test` in a thread of its own, with a fresh table of descriptors, in
    /// a fresh network namespace with the addresses above. `test` must not
    /// bring descriptors along. The namespace goes with the last process and
    /// socket in it.
    pub fn isolated<T: Send>(test: impl FnOnce(Self) -> Result<T> + Send) -> Result<T> {
        Self::unconfigured(|| test(Self::configure()?))
    }

    /// The same in a namespace that has nothing but its loopback device, which is down.
    pub fn unconfigured<T: Send>(test: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let entered = || {
                sys::unshare_descriptors().context("unshare the descriptors")?;
                sys::unshare_net().context("unshare the network namespace")?;
                test()
            };
            scope
                .spawn(entered)
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Gives such a namespace the addresses.
    pub fn configure() -> Result<Self> {
        let routes = Routes::watch().context("watch the routes")?;
        ip(&["-batch", "-"], SET_UP)?;
        routes.wait_for(&[LOOP6, HOST6, CIP6, OTHER6, LINK6])?;
        let link = ip(&["-oneline", "link", "show", "dev", "v0"], "")?;
        let link = link
            .split_once(':')
            .and_then(|(index, _)| index.parse().ok())
            .with_context(|| format!("find the interface's index in {link:?}"))?;
        Ok(Self { link })
    }

    /// The index of the interface that holds the addresses.
    pub fn link(&self) -> u32 {
        self.link
    }

    /// Gives the interface another IPv4 address.
    pub fn add(&self, address: IpAddr) -> Result<()> {
        ip(&["-batch", "-"], &format!("addr add {address}/24 dev v0\n")).map(drop)
    }

    /// Gives the interface another IPv6 address that stays tentative: duplicate
    /// address detection goes on for minutes.
    pub fn add_tentative(&self, address: IpAddr) -> Result<()> {
        let path = "/proc/sys/net/ipv6/conf/v0/dad_transmits";
        std::fs::write(path, "600").with_context(|| format!("write {path}"))?;
        ip(&["-batch", "-"], &format!("addr add {address}/64 dev v0\n")).map(drop)
    }

    /// Lets every group make ping sockets.
    pub fn allow_ping(&self) -> Result<()> {
        self.write("ping_group_range", "0 2147483647")
    }

    /// Makes TCP Fast Open work on both sides.
    pub fn allow_fast_open(&self) -> Result<()> {
        self.write("tcp_fastopen", "3")
    }

    /// How many connections carried data in their first packet.
    pub fn fast_opens(&self) -> Result<u64> {
        let path = "/proc/thread-self/net/netstat";
        let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
        let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
        let names = lines.next().unwrap_or_default().split(' ');
        let mut counts = names.zip(lines.next().unwrap_or_default().split(' '));
        let count = counts.find(|(name, _)| *name == "TCPFastOpenActive");
        Ok(count.context("find TCPFastOpenActive")?.1.parse()?)
    }

    fn write(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/ipv4/{name}");
        std::fs::write(&path, value).with_context(|| format!("write {path}"))
    }

    /// Leaves only this many local ports for the kernel to choose from.
    pub fn squeeze_ports(&self, count: u16) -> Result<()> {
        const FIRST: u16 = 40000;
        let range = format!("{FIRST} {}", FIRST + count - 1);
        self.write("ip_local_port_range", &range)
    }

    /// Leaves the kernel this local port alone to choose.
    pub fn only_port(&self, port: u16) -> Result<()> {
        self.write("ip_local_port_range", &format!("{port} {port}"))
    }
}

/// Whether this kernel has what a dual-stack server takes: its type information.
pub fn has_dual() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| Path::new("/sys/kernel/btf/vmlinux").exists())
}

/// Whether this kernel tells the cookie of a network namespace (Linux 5.14): without it
/// a bound socket calls loopback from the assigned address.
pub fn has_cookie() -> bool {
    Socket::new(UDP4).is_ok_and(|socket| {
        let mut cookie = [0; size_of::<u64>()];
        let name = libc::SO_NETNS_COOKIE;
        sys::option(socket.as_fd(), libc::SOL_SOCKET, name, &mut cookie).is_ok()
    })
}

/// Skips the trial where there is no such server.
pub fn require_dual() -> Result<()> {
    if has_dual() {
        return Ok(());
    }
    Err(skip(
        "without type information a server at :: answers at the IPv6 address alone",
    ))
}

const VRF_DEVICE: &str = "\
link add v2 type veth peer name v3
link set v2 master vrf0
link set vrf0 up
link set v2 up
link set v3 up
";

/// Adds `vrf0`, a VRF, and in it the device `v2` with these addresses, to the namespace of
/// the calling thread. Skips the trial where the kernel has no VRFs.
pub fn add_vrf(addresses: &[IpAddr]) -> Result<()> {
    if let Err(error) = ip(&["link", "add", "vrf0", "type", "vrf", "table", "10"], "") {
        let error = format!("{error:#}");
        ensure!(error.contains("Unknown device type"), "{error}");
        return Err(skip("the kernel has no VRFs (CONFIG_NET_VRF)"));
    }
    ip(&["-batch", "-"], VRF_DEVICE)?;
    addresses.iter().try_for_each(|address| {
        let (length, more) = if address.is_ipv4() {
            (24, "")
        } else {
            (64, " nodad")
        };
        ip(
            &["-batch", "-"],
            &format!("addr add {address}/{length} dev v2{more}\n"),
        )
        .map(drop)
    })
}

/// Runs `ip` in the namespace of the calling thread.
pub fn ip(arguments: &[&str], batch: &str) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = process::run(Command::new("ip").args(arguments), batch.as_bytes())
        .context("run `ip` (is the package iproute2 installed?)")?;
    ensure!(status.success(), "ip {arguments:?}: {}", stderr.trim());
    Ok(stdout)
}
