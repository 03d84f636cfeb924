//! What kind of address a program asked for.

use crate::net::{V4, V6};

/// The unspecified IPv4 address, 0.0.0.0.
pub const ANY4: V4 = V4(0);
/// The unspecified IPv6 address, `::`.
pub const ANY6: V6 = V6([0; 4]);

/// The third word of an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2).
const MAPPED_WORD: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
const BROADCAST: V4 = V4::from_octets([255; 4]);
/// 127.0.0.1
pub const LOOPBACK4: V4 = V4::from_octets([127, 0, 0, 1]);
/// `::1`
pub const LOOPBACK6: V6 = V6([0, 0, 0, u32::from_ne_bytes([0, 0, 0, 1])]);

/// The kinds of address that the decisions distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0.0.0.0, `::` and `::ffff:0.0.0.0`.
    Unspecified,
    /// 127.0.0.0/8, `::1` and `::ffff:127.0.0.0/104`.
    Loopback,
    /// 224.0.0.0/4 and 255.255.255.255, mapped or not, and `ff00::/8`.
    Multicast,
    /// `fe80::/10`.
    LinkLocal,
    /// Any other address: of this host or of another one.
    Unicast,
}

/// The kind of an IPv4 address.
#[inline(always)]
pub fn kind4(address: V4) -> Kind {
    let first = address.octets()[0];
    match first {
        _ if address == ANY4 => Kind::Unspecified,
        127 => Kind::Loopback,
        224..=239 => Kind::Multicast,
        _ if address == BROADCAST => Kind::Multicast,
        _ => Kind::Unicast,
    }
}

/// The kind of an IPv6 address that is not IPv4-mapped; see [`Family::of`].
#[inline(always)]
pub fn kind6(address: &V6) -> Kind {
    let [first, second, ..] = address.0[0].to_ne_bytes();
    if *address == ANY6 {
        Kind::Unspecified
    } else if *address == LOOPBACK6 {
        Kind::Loopback
    } else if first == 0xff {
        Kind::Multicast
    } else if first == 0xfe && second & 0xc0 == 0x80 {
        Kind::LinkLocal
    } else {
        Kind::Unicast
    }
}

/// `::ffff:a.b.c.d` for a.b.c.d.
#[inline(always)]
pub const fn mapped(address: V4) -> V6 {
    V6([0, 0, MAPPED_WORD, address.0])
}

/// The family that an address of an IPv6 socket belongs to on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4: the address was IPv4-mapped.
    V4(V4),
    /// IPv6.
    V6(V6),
}

impl Family {
    /// Tells IPv4-mapped addresses from the others.
    #[inline(always)]
    pub const fn of(address: V6) -> Self {
        if address.0[0] == 0 && address.0[1] == 0 && address.0[2] == MAPPED_WORD {
            Self::V4(address.v4())
        } else {
            Self::V6(address)
        }
    }

    /// The form that an IPv6 socket uses: IPv4 addresses are IPv4-mapped.
    #[inline(always)]
    pub const fn to_v6(self) -> V6 {
        match self {
            Self::V4(address) => mapped(address),
            Self::V6(address) => address,
        }
    }

    /// The loopback address of the family, 127.0.0.1 or `::1`, in the form of
    /// [`Self::to_v6`].
    #[inline(always)]
    pub const fn loopback(self) -> V6 {
        match self {
            Self::V4(_) => mapped(LOOPBACK4),
            Self::V6(_) => LOOPBACK6,
        }
    }

    /// The loopback address that a call to an unspecified address means: 127.0.0.1 for
    /// 0.0.0.0, `::1` for `::`.
    #[inline(always)]
    pub fn or_loopback(self) -> Self {
        match self {
            Self::V4(ANY4) => Self::V4(LOOPBACK4),
            Self::V6(address) if address == ANY6 => Self::V6(LOOPBACK6),
            other => other,
        }
    }

    /// The kind of the address.
    #[inline(always)]
    pub fn kind(&self) -> Kind {
        match self {
            Self::V4(address) => kind4(*address),
            Self::V6(address) => kind6(address),
        }
    }
}
