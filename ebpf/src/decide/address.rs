//! What kind of address a program asked for.

/// An IPv4 address, network byte order.
pub type V4 = u32;
/// An IPv6 address, four words in network byte order.
pub type V6 = [u32; 4];

/// The unspecified IPv4 address, 0.0.0.0.
pub const ANY4: V4 = 0;
/// The unspecified IPv6 address, `::`.
pub const ANY6: V6 = [0; 4];

/// The third word of an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2).
const MAPPED_WORD: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
const BROADCAST: V4 = u32::from_ne_bytes([255; 4]);
/// 127.0.0.1
pub const LOOPBACK4: V4 = u32::from_ne_bytes([127, 0, 0, 1]);
/// `::1`
pub const LOOPBACK6: V6 = [0, 0, 0, u32::from_ne_bytes([0, 0, 0, 1])];

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
pub const fn kind4(address: V4) -> Kind {
    let first = address.to_ne_bytes()[0];
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
pub const fn kind6(address: &V6) -> Kind {
    let [first, second, ..] = address[0].to_ne_bytes();
    if same6(address, &ANY6) {
        Kind::Unspecified
    } else if same6(address, &LOOPBACK6) {
        Kind::Loopback
    } else if first == 0xff {
        Kind::Multicast
    } else if first == 0xfe && second & 0xc0 == 0x80 {
        Kind::LinkLocal
    } else {
        Kind::Unicast
    }
}

/// Whether two IPv6 addresses are the same, word by word: a comparison of arrays would
/// become a call to `bcmp`, which no program can make.
#[inline(always)]
pub const fn same6(one: &V6, other: &V6) -> bool {
    one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3]
}

/// An address as two numbers: the verifier checks a function on its own, rather than once
/// for each path that leads to a call, if it takes only the context and numbers
/// (`btf_prepare_func_args`, before Linux 5.12).
#[inline(always)]
pub fn halves(address: V6) -> (u64, u64) {
    let [a, b, c, d] = address.map(u64::from);
    (a << 32 | b, c << 32 | d)
}

/// The address that [`halves`] has split into these numbers.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "each half of a number")]
pub const fn whole(high: u64, low: u64) -> V6 {
    [
        (high >> 32) as u32,
        high as u32,
        (low >> 32) as u32,
        low as u32,
    ]
}

/// `::ffff:a.b.c.d` for a.b.c.d.
#[inline(always)]
pub const fn mapped(address: V4) -> V6 {
    [0, 0, MAPPED_WORD, address]
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
        if address[0] == 0 && address[1] == 0 && address[2] == MAPPED_WORD {
            Self::V4(address[3])
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

    /// The loopback address that a call to an unspecified address means: 127.0.0.1 for
    /// 0.0.0.0, `::1` for `::`.
    #[inline(always)]
    pub const fn or_loopback(self) -> Self {
        match self {
            Self::V4(ANY4) => Self::V4(LOOPBACK4),
            Self::V6(address) if same6(&address, &ANY6) => Self::V6(LOOPBACK6),
            other => other,
        }
    }

    /// The kind of the address.
    #[inline(always)]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::V4(address) => kind4(*address),
            Self::V6(address) => kind6(address),
        }
    }
}
