//! Waiting for the routes to a namespace's own addresses.
//!
//! An IPv6 address is there at once, but its local route comes from a work
//! queue (`addrconf_dad_work`), without duplicate address detection too. What
//! is sent before that goes out of the interface and gets lost.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::io::retry_on_intr;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt,
};

use crate::process::PATIENCE;

/// `RTMGRP_IPV6_ROUTE`, linux/rtnetlink.h
const IPV6_ROUTE: u32 = 0x400;
/// `RTF_LOCAL`, linux/ipv6_route.h
const LOCAL: u32 = 0x8000_0000;

/// Hears of every IPv6 route that is added to a network namespace.
#[derive(Debug)]
pub struct Routes {
    netlink: OwnedFd,
}

impl Routes {
    /// Listens from now on, in the namespace of the calling thread.
    pub fn watch() -> Result<Self> {
        // Protocol 0 is NETLINK_ROUTE.
        let netlink = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_socket_timeout(&netlink, sockopt::Timeout::Recv, Some(PATIENCE))?;
        bind(&netlink, &SocketAddrNetlink::new(0, IPV6_ROUTE))?;
        Ok(Self { netlink })
    }

    /// Waits until there is a local route to each of `addresses`.
    pub fn wait_for(&self, addresses: &[IpAddr]) -> Result<()> {
        loop {
            let local = local_routes()?;
            if addresses.iter().all(|address| local.contains(address)) {
                return Ok(());
            }
            // What changed is of no interest, only that something did.
            retry_on_intr(|| recv(&self.netlink, &mut [0; 1][..], RecvFlags::TRUNC))
                .with_context(|| format!("wait for routes to {addresses:?}"))?;
        }
    }
}

/// Single addresses with a local route. A line has the destination, its prefix
/// length, source, its length, next hop, metric, references, uses, flags and
/// interface, all numbers hexadecimal (`rt6_info_route`).
fn local_routes() -> Result<Vec<IpAddr>> {
    let path = "/proc/thread-self/net/ipv6_route";
    let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let parse = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
        let address = u128::from_str_radix(fields.first()?, 16).ok()?;
        (flags & LOCAL != 0).then_some(Ipv6Addr::from(address).into())
    };
    Ok(text.lines().filter_map(parse).collect())
}
