//! What a program asked for when it bound a socket that is somewhere else.

use crate::address::{ANY6, Family, Kind, V6, same6};
use crate::names::Endpoint;

/// What is kept of a bound socket: the value of the map `BOUND`, all zero if nothing is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The address and port that the program asked for.
    pub asked: Endpoint,
    /// 1 if getsockname says so, because the socket is isolated
    /// ([`crate::verdict::Action::Isolate`]).
    pub is_isolated: u32,
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

    /// What getsockname says of an isolated socket at this port, network byte order.
    #[inline(always)]
    pub fn name(&self, port: u16) -> Option<Endpoint> {
        let port = match self.asked.port {
            0 => port,
            asked => asked,
        };
        (self.is_isolated != 0).then(|| Endpoint::new(self.asked.address, port))
    }
}
