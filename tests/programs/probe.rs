//! What the servers of [`crate::daemon`] are asked.

/// A question, and what its answer contains.
pub struct Probe {
    pub is_tcp: bool,
    pub port: u16,
    pub says: &'static [u8],
    pub hears: &'static [u8],
}

pub const fn tcp(port: u16, says: &'static [u8], hears: &'static [u8]) -> Probe {
    Probe {
        is_tcp: true,
        port,
        says,
        hears,
    }
}

pub const fn udp(port: u16, says: &'static [u8], hears: &'static [u8]) -> Probe {
    Probe {
        is_tcp: false,
        port,
        says,
        hears,
    }
}

pub const HTTP: Probe = tcp(80, b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.");
/// A query for the address of x.test, with an id that the answer repeats (RFC 1035
/// section 4.1).
pub const QUERY: &[u8] = b"\x7a\x7b\x01\0\0\x01\0\0\0\0\0\0\x01x\x04test\0\0\x01\0\x01";
pub const DNS: Probe = udp(53, QUERY, b"\x7a\x7b");
/// The description of the system, by SNMPv2c (RFC 3416), and the community, which the answer
/// repeats.
pub const SNMP: &[u8] =
    b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x01\x02\x01\0\x02\x01\0\
    \x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\0\x05\0";
/// A request of NTP version 4 (RFC 5905 section 7.3): its transmit timestamp comes back as
/// the origin timestamp.
pub const NTP: Probe = udp(123, NTP_REQUEST, b"the time");
const NTP_REQUEST: &[u8] =
    b"\x23\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0the time";
/// A binding request and the type of a response (RFC 8489 section 5).
pub const STUN: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42twelve bytes";

/// A request for SMB 2, by the message of SMB 1 that servers know too ([MS-SMB2] section
/// 3.2.4.2.2.1), and how the answer begins.
pub const SMB: &[u8] = b"\0\0\0\x2e\xffSMB\x72\0\0\0\0\x18\x01\xc8\0\0\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\x0b\0\x02SMB 2.002\0";
