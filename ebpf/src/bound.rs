//! What a program asked for when it bound a socket that is somewhere else.

use crate::address::{ANY6, Family, Kind, LOOPBACK6, V4, V6, same6};
use crate::names::Endpoint;
use crate::port::Port;

/// What is kept of a bound socket: the value of the map `BOUND`, all zero if nothing is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The address and port that the program asked for.
    pub asked: Endpoint,
    /// 1 if getsockname says so, because the socket is elsewhere on loopback: it is isolated
    /// ([`crate::verdict::Action::Isolate`]), or on a private loopback.
    pub is_told: u32,
    /// The private loopback address of the cgroup that the socket is of, network byte
    /// order, if it is told something else for that; else 0.
    pub owner: V4,
}

impl Bound {
    /// Whether it names an address of the host, to which the kernel would bind one socket
    /// at this port: others are compared with it ([`crate::bind`]).
    #[inline(always)]
    pub fn is_kept(asked: &Endpoint) -> bool {
        asked.port != 0 && matches!(Family::of(asked.address).kind(), Kind::Unicast)
    }

    /// Whether a bind as `asked` may come from a policy further in, which has isolated it,
    /// so that what is kept of it has to stay.
    #[inline(always)]
    pub fn may_be_isolated(asked: &Endpoint) -> bool {
        asked.port == 0 && matches!(Family::of(asked.address).kind(), Kind::Loopback)
    }

    /// Whether the program had asked for another address of the host than `address`, an
    /// IPv4 one IPv4-mapped.
    #[inline(always)]
    pub fn is_other(&self, address: &V6) -> bool {
        !same6(&self.asked.address, &ANY6) && !same6(&self.asked.address, address)
    }

    /// What getsockname says of the socket, which is at `port` and has a peer or not. An
    /// isolated one that has a peer is on loopback for its program too.
    #[inline(always)]
    pub fn name(&self, port: Port, has_peer: bool) -> Option<Endpoint> {
        let port = match self.asked.port {
            0 => port,
            asked => asked,
        };
        let is_named = !has_peer || same6(&self.asked.address, &LOOPBACK6);
        (self.is_told != 0 && is_named).then(|| Endpoint::new(self.asked.address, port))
    }
}
