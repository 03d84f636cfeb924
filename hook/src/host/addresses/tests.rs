//! Verdicts, replies byte by byte, and real network namespaces (as root).

mod real;

use netlink_packet_core::{
    Emitable as _, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use proptest::prelude::*;

use super::dump::{Dump, address};
use super::require::first_fault;
use super::*;

const SEQUENCE: u32 = 7;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn found(text: &str, prefix: u8, flags: AddressFlags) -> Found {
    Found {
        address: ip(text),
        prefix,
        broadcast: None,
        flags,
        device: 1,
        is_in_vrf: false,
    }
}

fn in_vrf(text: &str) -> Found {
    Found {
        is_in_vrf: true,
        ..found(text, 64, AddressFlags::empty())
    }
}

#[test]
fn verdicts() {
    let none = AddressFlags::empty();
    let tentative = AddressFlags::Tentative;
    let failed = AddressFlags::Dadfailed | AddressFlags::Tentative;
    let optimistic = AddressFlags::Optimistic | AddressFlags::Tentative;
    let v6 = "2001:db8::10";
    let table = [
        ("192.0.2.10", vec![], "is not configured"),
        ("192.0.2.10", vec![found("192.0.2.10", 24, none)], ""),
        (
            "192.0.2.10",
            vec![found("192.0.2.11", 24, none)],
            "is not configured",
        ),
        (
            "192.0.2.10",
            vec![found("192.0.2.10", 24, AddressFlags::Deprecated)],
            "",
        ),
        ("127.9.9.9", vec![found("127.0.0.1", 8, none)], ""),
        (
            "127.9.9.9",
            vec![found("127.0.0.1", 32, none)],
            "is not configured",
        ),
        (
            "127.9.9.9",
            vec![found("10.0.0.1", 0, none)],
            "is not configured",
        ),
        (
            "192.0.2.10",
            vec![found("127.0.0.1", 0, none)],
            "is not configured",
        ),
        (
            "::1",
            vec![found("127.0.0.1", 8, none)],
            "is not configured",
        ),
        ("::1", vec![found("::1", 128, none)], ""),
        (
            v6,
            vec![found("2001:db8::11", 64, none)],
            "is not configured",
        ),
        (v6, vec![found(v6, 64, tentative)], "is still tentative"),
        (v6, vec![found(v6, 64, optimistic)], ""),
        (v6, vec![found(v6, 64, failed)], "another host answered"),
        (
            v6,
            vec![found(v6, 64, AddressFlags::Dadfailed)],
            "another host answered",
        ),
        (
            v6,
            vec![found(v6, 64, tentative), found(v6, 64, failed)],
            "another host answered",
        ),
        (v6, vec![found(v6, 64, failed), found(v6, 128, none)], ""),
        (v6, vec![in_vrf(v6)], "belongs to a VRF"),
        (v6, vec![in_vrf(v6), found(v6, 64, none)], ""),
        (
            v6,
            vec![in_vrf(v6), found(v6, 64, tentative)],
            "is still tentative",
        ),
    ];
    for (wanted, found, message) in table {
        match first_fault(&[ip(wanted)], &found) {
            None => assert_eq!(message, "", "{wanted} in {found:?}"),
            Some(fault) => {
                let error = fault.explain().to_string();
                assert!(
                    !message.is_empty() && error.contains(message),
                    "{wanted}: {error}"
                );
                assert!(
                    error.starts_with(&format!("{} address {wanted} ", setting_of(ip(wanted)))),
                    "{error}"
                );
                assert_eq!(error.lines().count(), 1, "{error}");
            }
        }
    }
}

/// The payload of an RTM_NEWADDR message.
fn payload(
    family: AddressFamily,
    flags: u8,
    attributes: impl IntoIterator<Item = AddressAttribute>,
) -> Vec<u8> {
    let mut message = AddressMessage::default();
    message.header.family = family;
    message.header.prefix_len = 24;
    message.header.flags = AddressHeaderFlags::from_bits_retain(flags);
    message.attributes = attributes.into_iter().collect();
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = 16 + payload.len();
    let mut bytes = vec![0; length.next_multiple_of(4)];
    bytes[16..length].copy_from_slice(payload);
    let mut buffer = NetlinkBuffer::new(&mut bytes);
    buffer.set_length(length.try_into().unwrap());
    buffer.set_message_type(kind);
    buffer.set_flags(flags);
    buffer.set_sequence_number(sequence);
    bytes
}

fn listed(text: &str, flags: u16) -> Vec<u8> {
    let (family, address) = (AddressFamily::Inet, AddressAttribute::Local(ip(text)));
    let payload = payload(family, 0, [address]);
    message(libc::RTM_NEWADDR, flags, SEQUENCE, &payload)
}

fn done(flags: u16) -> Vec<u8> {
    message(NLMSG_DONE, flags, SEQUENCE, &[0; 4])
}

#[test]
fn the_local_end_counts_and_the_wide_flags_win() {
    use AddressAttribute::{Address, Flags, Label, Local};
    let (v4, v6) = (AddressFamily::Inet, AddressFamily::Inet6);
    let tentative = AddressFlags::Tentative;
    let low = u8::try_from(tentative.bits()).unwrap();
    let read = |family, flags, attributes: Vec<AddressAttribute>| {
        let found = address(&payload(family, flags, attributes)).unwrap();
        found.map(|found| (found.address, found.flags))
    };
    let (ours, peer, six) = (ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1"));
    let none = AddressFlags::empty();
    assert_eq!(
        read(v4, 0, vec![Address(peer), Local(ours)]),
        Some((ours, none))
    );
    assert_eq!(
        read(v4, 0, vec![Local(ours), Address(peer)]),
        Some((ours, none))
    );
    assert_eq!(read(v6, low, vec![Address(six)]), Some((six, tentative)));
    let wide = AddressFlags::StablePrivacy;
    assert_eq!(
        read(v6, low, vec![Address(six), Flags(wide)]),
        Some((six, wide))
    );
    assert_eq!(
        read(v6, 0, vec![Flags(tentative), Address(six)]),
        Some((six, tentative))
    );
    assert_eq!(read(v4, 0, vec![Label("lo".into())]), None);
    assert_eq!(read(AddressFamily::Packet, 0, vec![Local(ours)]), None);
    address(&payload(v6, 0, [Local(ours)])).unwrap_err();
    address(&payload(v4, 0, [Local(six)])).unwrap_err();
    address(&[0; 7]).unwrap_err();
}

/// The kernel derives one if none is given.
#[test]
fn the_broadcast_address_of_a_network() {
    use AddressAttribute::{Broadcast, Local};
    let given = Broadcast(Ipv4Addr::new(192, 0, 2, 127));
    let read = |attributes: Vec<AddressAttribute>| {
        let found = address(&payload(AddressFamily::Inet, 0, attributes)).unwrap();
        found.unwrap().broadcast().unwrap().to_string()
    };
    assert_eq!(read(vec![Local(ip("192.0.2.1")), given]), "192.0.2.127");
    assert_eq!(read(vec![Local(ip("192.0.2.1"))]), "192.0.2.255");
    for (text, prefix, expected) in [
        ("192.0.2.1", 30, Some("192.0.2.3")),
        ("192.0.2.1", 31, None),
        ("192.0.2.1", 32, None),
        ("10.1.2.3", 8, Some("10.255.255.255")),
        ("2001:db8::1", 16, None),
    ] {
        let found = found(text, prefix, AddressFlags::empty()).broadcast();
        let found = found.map(|address| address.to_string());
        assert_eq!(found.as_deref(), expected, "{text}/{prefix}");
    }
}

#[test]
fn a_dump_ends_when_it_is_done_or_all_is_found() {
    let wanted = [ip("192.0.2.1")];
    let mut dump = Dump::new(SEQUENCE, &wanted);
    dump.read(&listed("192.0.2.2", 0)).unwrap();
    assert!(!dump.done);
    dump.read(&done(0)).unwrap();
    assert!(dump.done);
    assert_eq!(dump.result(), Some(vec![]));

    let mut dump = Dump::new(SEQUENCE, &wanted);
    dump.read(&listed("192.0.2.1", 0)).unwrap();
    assert!(dump.done);
    assert_eq!(dump.result().unwrap().len(), 1);

    // An empty NLMSG_DONE, and replies to another request.
    let mut dump = Dump::new(SEQUENCE, &wanted);
    dump.read(&message(NLMSG_DONE, 0, SEQUENCE + 1, &[0; 4]))
        .unwrap();
    assert!(!dump.done);
    dump.read(&message(NLMSG_DONE, 0, SEQUENCE, &[])).unwrap();
    assert!(dump.done);
}

#[test]
fn an_interrupted_dump_counts_only_when_all_was_found() {
    let wanted = [ip("192.0.2.1")];
    for interruption in [
        done(NLM_F_DUMP_INTR),
        [listed("192.0.2.2", NLM_F_DUMP_INTR), done(0)].concat(),
        [message(NLMSG_OVERRUN, 0, SEQUENCE, &[]), done(0)].concat(),
    ] {
        let mut dump = Dump::new(SEQUENCE, &wanted);
        dump.read(&interruption).unwrap();
        assert_eq!(dump.result(), None);
    }
    let mut dump = Dump::new(SEQUENCE, &wanted);
    dump.read(&listed("192.0.2.1", NLM_F_DUMP_INTR)).unwrap();
    assert_eq!(dump.result().unwrap().len(), 1);
}

#[test]
fn errors_and_malformed_replies_are_reported() {
    let denied = (-libc::EPERM).to_ne_bytes();
    let whole = listed("192.0.2.2", 0);
    let mut cut_attribute = whole.clone();
    cut_attribute[24] = 200;
    for (reply, wanted) in [
        (message(NLMSG_ERROR, 0, SEQUENCE, &denied), "not permitted"),
        (message(NLMSG_DONE, 0, SEQUENCE, &denied), "not permitted"),
        (message(NLMSG_ERROR, 0, SEQUENCE, &[]), "malformed"),
        (
            message(NLMSG_ERROR, 0, SEQUENCE, &i32::MIN.to_ne_bytes()),
            "list addresses",
        ),
        (message(libc::RTM_NEWADDR, 0, SEQUENCE, &[]), "malformed"),
        (whole[..whole.len() - 1].to_vec(), "malformed"),
        (whole[..9].to_vec(), "malformed"),
        (vec![0; 16], "malformed"),
        (cut_attribute, "malformed"),
    ] {
        let error = Dump::new(SEQUENCE, &[ip("192.0.2.1")])
            .read(&reply)
            .unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(wanted), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn messages_name_the_setting_of_an_address() {
    assert_eq!(setting_of("192.0.2.10".parse().unwrap()), "ipv4");
    assert_eq!(setting_of("2001:db8::10".parse().unwrap()), "ipv6");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(mut bytes: Vec<u8>, kind in 0_u16..30, sequence in 6_u32..8) {
        let wanted = [ip("192.0.2.1"), ip("2001:db8::1")];
        let _ = Dump::new(SEQUENCE, &wanted).read(&bytes);
        let _ = address(&bytes);
        // Past the header as well.
        bytes = message(kind, 0, sequence, &bytes);
        let _ = Dump::new(SEQUENCE, &wanted).read(&bytes);
    }

    #[test]
    fn a_truncated_reply_is_never_taken_for_a_whole_one(cut in 1_usize..24) {
        let whole = listed("192.0.2.1", 0);
        let wanted = [ip("192.0.2.1")];
        let mut dump = Dump::new(SEQUENCE, &wanted);
        prop_assert!(dump.read(&whole[..whole.len() - cut]).is_err());
    }

    #[test]
    fn an_address_covers_itself_and_loopback_its_prefix(a: u32, b: u32, prefix in 0_u8..=32) {
        let (have, want) = (IpAddr::from(a.to_be_bytes()), IpAddr::from(b.to_be_bytes()));
        let found = Found { address: have, ..found("127.0.0.1", prefix, AddressFlags::empty()) };
        prop_assert!(found.covers(have));
        let same = a == b || (a >> 24 == 127 && b >> 24 == 127
            && (prefix == 0 || (a ^ b) >> (32 - prefix) == 0));
        prop_assert_eq!(found.covers(want), same);
    }
}
