//! Other hosts: network namespaces behind the interface of a test's own.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use libc::{SO_BROADCAST, SOL_SOCKET};
use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};

use crate::net::ip;
use crate::routes::Routes;
use crate::socket::{Socket, UDP4, at};
use crate::sys;

/// The far host's IPv4 address, behind a router.
pub const FAR4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2));
/// The far host's IPv6 address, behind a router.
pub const FAR6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x200, 0, 0, 0, 0, 2));
/// The router's own IPv4 address, on the test's link.
pub const ROUTER4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
/// The router's own IPv6 address, on the test's link.
pub const ROUTER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));
/// The router's link-local address.
pub const ROUTER_LINK6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2));
const ROUTER_FAR6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x200, 0, 0, 0, 0, 1));
/// Addresses to which the router says that there is no such host.
pub const NO_HOST4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 130));
/// The largest packet between the router and the far host.
pub const FAR_MTU: u16 = 1400;

/// On the router, which has the other end of the test's interface. It asks for
/// its neighbours from link-local addresses.
const ROUTER: &str = "\
link set lo up
link set v1 up
addr add 192.0.2.2/24 dev v1
addr add 2001:db8::2/64 dev v1 nodad
addr add fe80::2/64 dev v1 nodad
link add r0 type veth peer name r1
link set r0 addrgenmode none
link set r1 addrgenmode none
link set r0 mtu 1400
link set r1 mtu 1400
link set r0 up
addr add 203.0.113.1/25 dev r0
addr add 2001:db8:200::1/64 dev r0 nodad
addr add fe80::1/64 dev r0 nodad
route add unreachable 203.0.113.128/25
";

/// On the far host.
const FAR: &str = "\
link set lo up
link set r1 up
addr add 203.0.113.2/25 dev r1
addr add 2001:db8:200::2/64 dev r1 nodad
route add default via 203.0.113.1
route add default via 2001:db8:200::1
";

/// On the test's own side.
const NEAR: &str = "\
route add 203.0.113.0/24 via 192.0.2.2 src 192.0.2.1
route add 2001:db8:200::/64 via 2001:db8::2 src 2001:db8::1
";

/// Another network namespace.
#[derive(Debug)]
pub struct Host {
    namespace: File,
}

impl Host {
    /// The router and the far host, which take over the other end of the
    /// calling thread's interface.
    pub fn beyond() -> Result<[Self; 2]> {
        let router = Self::with_interface("v1", None)?;
        router.within(|| {
            ip(&["-batch", "-"], ROUTER)?;
            for family in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/net/{family}"), "1")
                    .with_context(|| format!("write {family}"))?;
            }
            Ok(())
        })?;
        let far = Self::with_interface("r1", Some(&router))?;
        far.within(|| {
            let routes = Routes::watch()?;
            ip(&["-batch", "-"], FAR)?;
            routes.wait_for(&[FAR6])
        })?;
        // Addresses are of use once the other end of their link is up.
        router.within(|| Routes::watch()?.wait_for(&[ROUTER6, ROUTER_FAR6, ROUTER_LINK6]))?;
        ip(&["-batch", "-"], NEAR)?;
        Ok([router, far])
    }

    /// A fresh namespace with this interface of another one: of the calling
    /// thread's, unless `owner` says so.
    pub fn with_interface(name: &str, owner: Option<&Self>) -> Result<Self> {
        // The interface goes to the namespace of a thread by its id, so that
        // thread stays until it is there.
        let (ready, on_ready) = std::sync::mpsc::channel();
        let (moved, on_moved) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let made = scope.spawn(move || {
                sys::unshare_net().context("unshare the network namespace")?;
                ready.send(gettid().as_raw_nonzero().get())?;
                let _ = on_moved.recv();
                let path = "/proc/thread-self/ns/net";
                let namespace = File::open(path).with_context(|| format!("open {path}"))?;
                anyhow::Ok(Self { namespace })
            });
            let thread = on_ready.recv()?.to_string();
            let move_it = || ip(&["link", "set", name, "netns", &thread], "");
            let result = match owner {
                Some(owner) => owner.within(move_it),
                None => move_it(),
            };
            moved.send(())?;
            let made = made
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            result.map(|_| made)
        })
    }

    /// Runs `action` in a thread inside of it. Sockets that it makes stay there.
    pub fn within<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let kind = Some(LinkNameSpaceType::Network);
                    move_into_link_name_space(self.namespace.as_fd(), kind)
                        .context("enter the network namespace")?;
                    action()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A socket at the router's address, on the test's link, that may send broadcasts.
    pub fn broadcaster(&self) -> Result<Socket> {
        let client = self.within(|| Socket::new(UDP4))?;
        client.set(SOL_SOCKET, SO_BROADCAST, 1)?;
        client.bind(at(ROUTER4, 0, 0))?;
        Ok(client)
    }
}

/// The index of an interface of the calling thread's namespace.
pub fn interface(name: &str) -> Result<u32> {
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6")?;
    let line = table.lines().find(|line| line.ends_with(name));
    let index = line.and_then(|line| line.split_whitespace().nth(1));
    let index = index.with_context(|| format!("find {name} in {table}"))?;
    Ok(u32::from_str_radix(index, 16)?)
}
