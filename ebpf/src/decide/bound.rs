//! What a program asked for when it bound a socket.

use crate::abi::Policy;
use crate::decide::address::{ANY4, ANY6, Family, Kind, LOOPBACK6, mapped};
use crate::decide::loopback::port6;
use crate::decide::policy::{assigned4, assigned6, kind, private_loopback};
use crate::decide::port::{PortUse, TCP, UDP, port};
use crate::net::{Endpoint, Port, V4};

/// What is kept about a bind: the value of the maps `BOUND` and `LOOPBACK6`, all zero if
/// nothing is kept.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The address and port that the program asked for.
    pub asked: Endpoint,
    /// Where the socket was bound instead; port 0 if the kernel chooses it.
    pub actual: Endpoint,
    /// 1 if getsockname reports what was asked for: the socket is isolated
    /// ([`crate::decide::verdict::Action::Isolate`]), or on a private loopback.
    pub is_told: u32,
    /// The loopback address of the policy under which it was bound
    /// ([`Policy::loopback`]), which says whose the socket is.
    pub owner: V4,
    /// The user who bound it, as a user id of the initial user namespace.
    pub uid: u32,
}

impl Bound {
    /// What to keep about a bind of any socket, if anything. A bind to a host address and
    /// port where the kernel would bind only one socket is kept, even in a family that is
    /// not assigned, since others are compared with it ([`crate::decide::bind`]). A bind
    /// to loopback is kept to know whose it is ([`crate::decide::loopback`]).
    #[inline(always)]
    pub fn kept(policy: &Policy, protocol: u32, asked: Endpoint, uid: u32) -> Self {
        // With `Self::default()` the verifier goes through 3,500 more instructions.
        const NOTHING: Bound = Bound {
            asked: Endpoint::new(ANY6, Port::ANY),
            actual: Endpoint::new(ANY6, Port::ANY),
            is_told: 0,
            owner: ANY4,
            uid: 0,
        };
        let family = Family::of(asked.address);
        let (has4, has6) = (assigned4(policy).is_some(), assigned6(policy).is_some());
        let actual = match kind(policy, &family) {
            Kind::Loopback => match (private_loopback(policy), family) {
                (None, _) => asked,
                (Some(private), Family::V4(_)) => Endpoint::new(mapped(private), asked.port),
                // Kept after the decision, by `kernel::bound::tell`.
                (Some(_), Family::V6(_)) => return NOTHING,
            },
            Kind::LinkLocal if has6 => return NOTHING,
            Kind::Unicast | Kind::LinkLocal
                if asked.port != Port::ANY && (protocol == TCP || protocol == UDP) =>
            {
                let own = if has4 && (matches!(family, Family::V4(_)) || !has6) {
                    mapped(policy.ipv4)
                } else {
                    policy.ipv6
                };
                match port(policy, protocol, asked.port) {
                    PortUse::Is(actual) | PortUse::Multicast(actual) => Endpoint::new(own, actual),
                    PortUse::Exempt => return NOTHING,
                }
            }
            _ => return NOTHING,
        };
        Self {
            asked,
            actual,
            is_told: 0,
            owner: policy.loopback,
            uid,
        }
    }

    /// Whether a bind to this address and port is the one that is kept, as the policy of
    /// an inner cgroup has changed it.
    #[inline(always)]
    pub fn is_made_at(&self, asked: &Endpoint) -> bool {
        self.owner != ANY4 && self.actual == *asked
    }

    /// Whether the program that makes the bind `next` binds one address of the host after
    /// another, and this socket was the first: the same user's, under the same policy, at
    /// the same port of another address.
    ///
    /// A datagram socket that names the assigned address itself stays there, as the kernel
    /// allows (SO_REUSEADDR): ntpd sends from it.
    #[inline(always)]
    pub fn is_repeated_by(&self, next: &Self, protocol: u32) -> bool {
        if protocol == UDP && next.asked.address == next.actual.address {
            return false;
        }
        let is_same_program = self.owner == next.owner && self.uid == next.uid;
        let is_same_place = self.actual == next.actual && self.asked.port == next.asked.port;
        let is_same_address = self.asked.address == next.asked.address;
        is_same_program && is_same_place && !is_same_address
    }

    /// Whether a call to port `asked` of the private `::1` is for this socket: it has asked
    /// for that port or for none, or the policy of an outer cgroup has moved it once more.
    #[inline(always)]
    pub fn is_for(&self, private: V4, asked: Port) -> bool {
        let own = self.asked.port;
        own == Port::ANY || own == asked || port6(private, own) != self.actual.port
    }

    /// What getsockname reports for the socket at this address, if not that address. An
    /// isolated socket that has a peer is on loopback for its program too.
    #[inline(always)]
    pub fn name(&self, local: &Endpoint, has_peer: bool) -> Option<Endpoint> {
        let is_there = local.address == self.actual.address
            && (self.actual.port == Port::ANY || self.actual.port == local.port);
        let is_named = !has_peer || self.asked.address == LOOPBACK6;
        let port = match self.asked.port {
            Port::ANY => local.port,
            asked => asked,
        };
        (self.is_told != 0 && is_there && is_named).then(|| Endpoint::new(self.asked.address, port))
    }
}
