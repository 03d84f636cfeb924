//! getsockname(2), getpeername(2) and the source of received datagrams: a
//! program whose call to loopback went elsewhere is told the addresses that it
//! used.

use crate::abi::{Policy, flag};
use crate::decide::address::{Family, Kind, LOOPBACK4, kind4, mapped};
use crate::decide::bound::Bound;
use crate::decide::loopback::{is_own, is_private};
use crate::net::{Endpoint, Port, V4, V6};

/// What a program that asked for `address` is told: the unspecified address means
/// loopback, and the kernel reports it as such too. IPv4 addresses are IPv4-mapped.
#[inline(always)]
pub fn known_as(address: V6) -> V6 {
    Family::of(address).or_loopback().to_v6()
}

/// How many redirected peers one socket remembers; older ones are forgotten.
pub const PEERS: usize = 4;

/// One redirected peer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// The address that the program used.
    pub asked: Endpoint,
    /// Where its call went; port 0 if the entry is free.
    pub actual: Endpoint,
}

/// What one socket remembers: the value of the map `REDIRECTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redirects {
    /// The peers, in no order.
    pub peers: [Redirect; PEERS],
    /// Which entry is replaced next.
    pub next: u32,
    /// The private loopback address of the cgroup that the socket belongs to; 0.0.0.0 if it
    /// has none.
    pub owner: V4,
    /// 1 if connect bound the socket to the source of a redirected call, so that
    /// getsockname reports a loopback address.
    pub is_moved: u32,
    /// 1 if somebody on loopback whom the socket had not called has called it.
    pub is_called: u32,
}

impl Redirects {
    /// Remembers a peer.
    #[inline(always)]
    pub fn remember(&mut self, redirect: Redirect) {
        for peer in &mut self.peers {
            if peer.actual == redirect.actual {
                *peer = redirect;
                return;
            }
        }
        let next = (self.next as usize) % PEERS;
        self.peers[next] = redirect;
        self.next = self.next.wrapping_add(1);
    }

    /// Forgets a redirected peer, which the program has now called by its real address.
    #[inline(always)]
    pub fn forget(&mut self, actual: &Endpoint) {
        for peer in &mut self.peers {
            if peer.actual == *actual && peer.asked != *actual {
                peer.actual.port = Port::ANY;
                return;
            }
        }
    }

    /// Whether a datagram to a loopback address is an answer: the socket has been called,
    /// and has not called this peer itself.
    #[inline(always)]
    pub fn is_answer(&self, peer: &Endpoint) -> bool {
        self.is_called != 0 && self.asked(peer).is_none()
    }

    /// The address and port by which the program knows a peer.
    #[inline(always)]
    pub fn asked(&self, actual: &Endpoint) -> Option<Endpoint> {
        for peer in &self.peers {
            // A free entry has port 0, and so has a socket without a peer.
            if actual.port != Port::ANY && peer.actual == *actual {
                return Some(peer.asked);
            }
        }
        None
    }
}

/// The name of a peer, with IPv4 addresses IPv4-mapped; `None` if it is unchanged. The
/// cgroup's own loopback address is called 127.0.0.1.
#[inline(always)]
pub fn peer_name(
    policy: &Policy,
    redirects: Option<&Redirects>,
    actual: Endpoint,
) -> Option<Endpoint> {
    if let Some(asked) = redirects.and_then(|redirects| redirects.asked(&actual)) {
        return Some(asked);
    }
    is_own(policy, actual.address).then(|| Endpoint::new(mapped(LOOPBACK4), actual.port))
}

/// Whether a datagram from this peer is a call from loopback to a socket that has not
/// called the peer, and may have to answer it from the assigned address. `redirects` is
/// called only for a datagram from loopback.
#[inline(always)]
pub fn is_call<'a>(
    policy: &Policy,
    redirects: impl FnOnce() -> Option<&'a Redirects>,
    peer: &Endpoint,
) -> bool {
    policy.flags & flag::LOOPBACK_UDP != 0
        && matches!(Family::of(peer.address), Family::V4(address) if matches!(kind4(address), Kind::Loopback))
        && redirects()
            .is_none_or(|redirects| redirects.is_called == 0 && redirects.asked(peer).is_none())
}

/// The local name of a socket whose peer is `peer`, with IPv4 addresses IPv4-mapped;
/// `None` if it is unchanged.
///
/// An isolated socket has the name that its program asked for, until it has a peer.
#[inline(always)]
pub fn local_name(
    policy: &Policy,
    redirects: Option<&Redirects>,
    bound: Option<&Bound>,
    local: Endpoint,
    peer: Endpoint,
) -> Option<Endpoint> {
    if let Some(redirects) = redirects
        && redirects.is_moved != 0
        && let Some(asked) = redirects.asked(&peer)
    {
        let address = Family::of(asked.address).loopback();
        return Some(Endpoint::new(address, local.port));
    }
    let has_peer = peer.port != Port::ANY;
    if let Some(name) = bound.and_then(|bound| bound.name(&local, has_peer)) {
        return Some(name);
    }
    is_private(policy, local.address).then(|| Endpoint::new(mapped(LOOPBACK4), local.port))
}
