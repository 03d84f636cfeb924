//! B10: dual-stack UDP servers at `::` receive as on a plain host, whichever call or
//! option they use.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::hook::{BOTH, Policy};
use oci_bind_hook_tests::message;
use oci_bind_hook_tests::net::{ANY6, CIP4, CIP6, HOST4, HOST6, require_dual};
use oci_bind_hook_tests::process::PATIENCE;
use oci_bind_hook_tests::socket::{Kind, Socket, UDP6, at, first_ready};
use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, ioctl_fionread, retry_on_intr};
use rustix::net::{RecvFlags, recvfrom};

use crate::dual_servers::plainly;
use crate::observe::PORT;
use crate::row::{Row, Site, row};

/// The default for everything but the addresses.
pub const POLICIES: &[Policy] = &[BOTH.loopback("auto").guarded()];

/// What holds for every server, in the cgroup and elsewhere.
pub type Test = fn(&Site, Way) -> Result<()>;

/// A port to bind to, and the family that the server is called over.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The port; 0 for the kernel's choice.
    pub port: u16,
    /// Whether over IPv6.
    pub v6: bool,
}

const WAYS: [Way; 4] = [
    Way::of(PORT, false),
    Way::of(PORT, true),
    Way::of(0, false),
    Way::of(0, true),
];

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let tests: [(_, Test); 7] = [
        ("FIONREAD", length),
        ("MSG_PEEK", peek),
        ("a receive into no bytes", no_bytes),
        ("MSG_TRUNC", truncated),
        ("an empty datagram", empty),
        ("a datagram of 60000 bytes", large),
        ("poll and epoll", readiness),
    ];
    tests
        .into_iter()
        .flat_map(|(what, test)| trials(what, test))
        .collect()
}

/// The trials of one test.
pub fn trials(what: &str, test: Test) -> Vec<Row> {
    let observe = move |site: &Site| {
        require_dual()?;
        WAYS.into_iter()
            .try_for_each(|way| test(site, way).with_context(|| format!("{way:?}")))
    };
    let what = format!("udp6 server at {ANY6}, {what}");
    row("B10", &what, POLICIES, observe, (), ())
}

impl Way {
    /// With this port, and over IPv6 or not.
    pub const fn of(port: u16, v6: bool) -> Self {
        Self { port, v6 }
    }

    /// A server of the program.
    pub fn serve(self, site: &Site, set_up: impl Fn(&Socket) -> Result<()>) -> Result<Socket> {
        let server = site.socket(UDP6)?;
        set_up(&server)?;
        server.bind(at(ANY6, self.port, 0))?;
        Ok(server)
    }

    /// Where a server is called: at the assigned address, if it is bound there.
    pub fn address(self, server: &Socket) -> Result<SocketAddr> {
        let name = server.local()?;
        let address = match (name.ip().is_unspecified(), self.v6) {
            (true, false) => HOST4,
            (true, true) => HOST6,
            (false, false) => CIP4,
            (false, true) => CIP6,
        };
        Ok(at(address, name.port(), 0))
    }

    /// A server of the program, and a client outside that is connected to it.
    pub fn pair(self, site: &Site) -> Result<(Socket, Socket)> {
        let server = self.serve(site, plainly)?;
        let client = caller(self.address(&server)?)?;
        Ok((server, client))
    }
}

/// A client outside that is connected to a server.
pub fn caller(to: SocketAddr) -> Result<Socket> {
    let client = Socket::new(Kind::of(false, to.ip()))?;
    client.connect(to)?;
    Ok(client)
}

/// Has the client send, and waits until the server is ready to receive.
pub fn deliver(client: &Socket, server: &Socket, payload: &[u8]) -> Result<()> {
    client.send(None, payload)?;
    let ready = first_ready(&[server, client])?;
    ensure!(ready == 0, "it is refused");
    Ok(())
}

/// Fails unless this is the next datagram.
pub fn hear(server: &Socket, expected: &[u8]) -> Result<()> {
    let (payload, _) = server.receive()?;
    ensure!(payload == expected, "it hears {payload:?}");
    Ok(())
}

/// Fails unless this is the next datagram to a connected client.
pub fn hear_answer(client: &Socket, expected: &[u8]) -> Result<()> {
    let answer = client.receive_connected();
    ensure!(
        answer.as_deref() == Ok(expected),
        "the answer is {answer:?}"
    );
    Ok(())
}

fn length(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    let assert_next = |expected: u64| -> Result<()> {
        let next = ioctl_fionread(&server)?;
        ensure!(next == expected, "FIONREAD says {next}, not {expected}");
        Ok(())
    };
    assert_next(0)?;
    deliver(&client, &server, b"first")?;
    assert_next(5)?;
    client.send(None, b"2nd")?;
    assert_next(5)?;
    hear(&server, b"first")?;
    first_ready(&[&server])?;
    assert_next(3)?;
    hear(&server, b"2nd")?;
    assert_next(0)
}

fn peek(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    deliver(&client, &server, b"ping")?;
    let mut buffer = [0; 8];
    for _ in 0..2 {
        let (_, bytes, from) = recvfrom(&server, &mut buffer[..], RecvFlags::PEEK)?;
        ensure!(&buffer[..bytes] == b"ping", "it peeks {buffer:?}");
        let from = SocketAddr::try_from(from.context("nobody")?)?;
        ensure!(
            from.port() == client.local()?.port(),
            "it comes from {from}"
        );
    }
    hear(&server, b"ping")?;
    assert_empty(&server)
}

fn no_bytes(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    assert_empty(&server)?;
    deliver(&client, &server, b"first")?;
    client.send(None, b"second")?;
    let (_, bytes, from) = recvfrom(&server, &mut [0_u8; 0][..], RecvFlags::empty())?;
    ensure!(bytes == 0, "{bytes} bytes");
    ensure!(from.is_some(), "nobody has sent it");
    hear(&server, b"second")
}

fn truncated(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    for (room, flags) in [
        (0, RecvFlags::TRUNC | RecvFlags::PEEK),
        (2, RecvFlags::TRUNC | RecvFlags::PEEK),
        (2, RecvFlags::TRUNC),
        (0, RecvFlags::TRUNC),
    ] {
        deliver(&client, &server, b"ping")?;
        let (_, bytes, _) = recvfrom(&server, &mut vec![0; room][..], flags)?;
        ensure!(bytes == 4, "{bytes} bytes with room for {room}");
        if flags.contains(RecvFlags::PEEK) {
            hear(&server, b"ping")?;
        }
    }
    assert_empty(&server)
}

/// Fails if there is anything to receive, or if the kernel does not say so.
fn assert_empty(server: &Socket) -> Result<()> {
    for room in [0, 8] {
        let received = recvfrom(server, &mut vec![0; room][..], RecvFlags::DONTWAIT);
        let outcome = received.map(|(_, bytes, _)| bytes);
        ensure!(
            outcome == Err(Errno::WOULDBLOCK),
            "nothing is there, and with room for {room} it gets {outcome:?}"
        );
    }
    Ok(())
}

fn empty(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    deliver(&client, &server, b"")?;
    let (payload, from) = server.receive()?;
    ensure!(payload.is_empty(), "it hears {payload:?}");
    server.send(Some(from), b"")?;
    hear_answer(&client, b"")
}

fn large(site: &Site, way: Way) -> Result<()> {
    const SIZE: usize = 60_000;
    let (server, client) = way.pair(site)?;
    let payload: Vec<u8> = (0..SIZE).map(|index| index.to_le_bytes()[0]).collect();
    deliver(&client, &server, &payload)?;
    let message = message::receive(&server, SIZE + 1)?;
    ensure!(message.payload == payload, "it is not heard as it was sent");
    server.send(Some(message.from), &payload)?;
    let answer = message::receive(&client, SIZE + 1)?;
    ensure!(answer.payload == payload, "nor is the answer");
    Ok(())
}

fn readiness(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    ensure!(!server.has_input()?, "poll says that it is readable");
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let data = epoll::EventData::new_u64(0);
    let wanted = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&epoll, &server, data, wanted)?;
    // When edge-triggered, each datagram is one event.
    for payload in [b"first", b"other"] {
        client.send(None, payload)?;
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data,
        }];
        let patience = Timespec::try_from(PATIENCE)?;
        let count = retry_on_intr(|| epoll::wait(epoll.as_fd(), &mut events, Some(&patience)))?;
        let flags = events[0].flags;
        ensure!(
            count == 1 && flags == epoll::EventFlags::IN,
            "epoll: {flags:?}"
        );
        ensure!(server.has_input()?, "poll says that it is not readable");
        hear(&server, payload)?;
        ensure!(!server.has_input()?, "poll says that it is readable still");
    }
    Ok(())
}
