//! Addresses and ports, as the kernel has them: in network byte order.

use core::net::{Ipv4Addr, Ipv6Addr};

/// An IPv4 address, as the word that the kernel has it in.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct V4(pub u32);

impl V4 {
    /// The address with these octets, the first one first.
    #[must_use]
    #[inline(always)]
    pub const fn from_octets(octets: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(octets))
    }

    /// The octets of the address, the first one first.
    #[must_use]
    #[inline(always)]
    pub const fn octets(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }
}

impl From<Ipv4Addr> for V4 {
    fn from(address: Ipv4Addr) -> Self {
        Self::from_octets(address.octets())
    }
}

impl From<V4> for Ipv4Addr {
    fn from(address: V4) -> Self {
        address.octets().into()
    }
}

/// An IPv6 address, as the four words that the kernel has it in.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialOrd, Ord)]
pub struct V6(pub [u32; 4]);

impl V6 {
    /// The IPv4 address that an IPv4-mapped one stands for (RFC 4291 section 2.5.5.2).
    #[must_use]
    #[inline(always)]
    pub const fn v4(self) -> V4 {
        V4(self.0[3])
    }

    /// The address as two numbers: the verifier checks a function on its own, rather than
    /// once for each path that leads to a call, if it takes only the context and numbers
    /// (`btf_prepare_func_args`, before Linux 5.12).
    #[must_use]
    #[inline(always)]
    pub const fn halves(self) -> (u64, u64) {
        let [a, b, c, d] = self.0;
        ((a as u64) << 32 | b as u64, (c as u64) << 32 | d as u64)
    }

    /// The address that [`Self::halves`] has split into these numbers.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "each half of a number")]
    pub const fn from_halves(high: u64, low: u64) -> Self {
        Self([
            (high >> 32) as u32,
            high as u32,
            (low >> 32) as u32,
            low as u32,
        ])
    }
}

impl PartialEq for V6 {
    /// Word by word: a comparison of arrays would become a call to `bcmp`, which no program
    /// can make.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.0, &other.0);
        one[0] == two[0] && one[1] == two[1] && one[2] == two[2] && one[3] == two[3]
    }
}

impl From<Ipv6Addr> for V6 {
    fn from(address: Ipv6Addr) -> Self {
        let octets = address.octets();
        let mut words = [0; 4];
        for (word, octets) in words.iter_mut().zip(octets.as_chunks().0) {
            *word = u32::from_ne_bytes(*octets);
        }
        Self(words)
    }
}

impl From<V6> for Ipv6Addr {
    fn from(address: V6) -> Self {
        let bits = address.0.map(u32::from_be).map(u128::from);
        Self::from_bits(bits.into_iter().fold(0, |all, word| all << 32 | word))
    }
}

/// A port, as the half word that the kernel has it in.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub u16);

impl Port {
    /// No port yet: the kernel chooses one.
    pub const ANY: Self = Self(0);

    /// The port with this number, in host byte order.
    #[must_use]
    #[inline(always)]
    pub const fn new(number: u16) -> Self {
        Self(number.to_be())
    }

    /// The number of the port, in host byte order.
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// An address and a port. An IPv4 address is IPv4-mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: V6,
    /// The port.
    pub port: Port,
    /// No implicit padding.
    pub reserved: u16,
}

impl Endpoint {
    /// The endpoint at an address and port.
    #[must_use]
    #[inline(always)]
    pub const fn new(address: V6, port: Port) -> Self {
        Self {
            address,
            port,
            reserved: 0,
        }
    }
}

impl PartialEq for Endpoint {
    /// One comparison, since the verifier would follow each of several through all the code
    /// after it.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.address.0, &other.address.0);
        let difference = one[0] ^ two[0] | one[1] ^ two[1] | one[2] ^ two[2] | one[3] ^ two[3];
        difference | u32::from(self.port.0 ^ other.port.0) == 0
    }
}
