//! An address with a port.

use crate::decide::address::V6;
use crate::decide::port::Port;

/// An address and a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// Network byte order, IPv4 addresses IPv4-mapped.
    pub address: V6,
    /// Network byte order.
    pub port: Port,
    /// No implicit padding.
    pub reserved: u16,
}

impl Endpoint {
    /// The endpoint at an address and port.
    #[inline(always)]
    pub const fn new(address: V6, port: Port) -> Self {
        Self {
            address,
            port,
            reserved: 0,
        }
    }

    /// Whether both are the same. One comparison, since the verifier would follow each of
    /// several through all the code after it.
    #[inline(always)]
    pub const fn is(&self, other: &Self) -> bool {
        let [one, two] = [&self.address, &other.address];
        let difference = one[0] ^ two[0] | one[1] ^ two[1] | one[2] ^ two[2] | one[3] ^ two[3];
        difference | (self.port ^ other.port) as u32 == 0
    }
}
