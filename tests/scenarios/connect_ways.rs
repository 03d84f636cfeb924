//! B21, C9 to C12: other ways to bind and connect.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libc::{IPPROTO_TCP, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT};
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4, V6, inside};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, Net, OTHER4, PEER4, PEER6};
use oci_bind_hook_tests::process::{self, built};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6, first_ready};
use oci_bind_hook_tests::{host, uring};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{SendFlags, sendto};

use crate::observe::{PORT, Peer, answer, done};
use crate::row::{Row, Site, WITH4, WITH6, WITHOUT4, WITHOUT6, denied, row};

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = by_ring();
    rows.extend(fast_open());
    rows.extend(names());
    rows.extend(without_waiting());
    rows
}

/// io_uring, whose calls bypass the system call table.
fn by_ring() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, kind, asked, inside) in [
        (WITH4, TCP4, ANY4, Ok(CIP4)),
        (WITH4, UDP4, OTHER4, Ok(CIP4)),
        (WITHOUT4, TCP6, ANY6, Ok(CIP6)),
        (WITHOUT4, UDP4, CIP4, denied(Errno::ADDRNOTAVAIL)),
    ] {
        let what = format!("{kind:?} bind {asked} by io_uring");
        let observe = move |site: &Site| -> Result<Outcome> {
            let server = site.socket(kind)?;
            done!(uring::bind(&server, site.at(asked, PORT))?);
            answer(&server, PORT)
        };
        let [inside, plain] = [inside, Ok(asked)].map(uring::bound);
        rows.extend(row("B21", &what, policies, observe, inside, plain));
    }
    for (policies, kind, to, inside, plain) in [
        (WITH4, TCP4, PEER4, Ok(CIP4), HOST4),
        (WITH4, UDP4, PEER4, Ok(CIP4), HOST4),
        (WITH6, TCP6, PEER6, Ok(CIP6), HOST6),
        (WITH6, UDP6, PEER6, Ok(CIP6), HOST6),
        (WITHOUT6, TCP6, PEER6, denied(Errno::NETUNREACH), HOST6),
    ] {
        let what = format!("{kind:?} connect {to} by io_uring");
        let observe = move |site: &Site| -> Result<Outcome> {
            let peer = Peer::new(kind.tcp, to)?;
            let client = site.socket(kind)?;
            done!(uring::connect(&client, peer.address())?);
            peer.meet(&client)
        };
        rows.extend(row("C10", &what, policies, observe, inside, Ok(plain)));
    }
    rows
}

/// TCP Fast Open: the first connection brings a cookie, the second one sends data in its
/// first packet.
fn fast_open() -> Vec<Row> {
    let mut rows = Vec::new();
    for form in ["TCP_FASTOPEN_CONNECT", "MSG_FASTOPEN"] {
        for (policies, kind, to, inside, plain) in [
            (WITH4, TCP4, PEER4, Ok(CIP4), HOST4),
            (WITH6, TCP6, PEER6, Ok(CIP6), HOST6),
            (WITHOUT6, TCP6, PEER6, denied(Errno::NETUNREACH), HOST6),
        ] {
            let what = format!("{kind:?} connect {to} with {form}");
            let observe = move |site: &Site| -> Result<Outcome> {
                site.net().allow_fast_open()?;
                let peer = Peer::new(true, to)?;
                peer.set(IPPROTO_TCP, TCP_FASTOPEN, 16)?;
                let first = done!(open_fast(site, kind, &peer, form)?);
                let before = site.net().fast_opens()?;
                let second = done!(open_fast(site, kind, &peer, form)?);
                ensure!(site.net().fast_opens()? > before, "no data came first");
                ensure!(first == second, "the peer saw {first}, then {second}");
                Ok(Ok(second))
            };
            rows.extend(row("C9", &what, policies, observe, inside, Ok(plain)));
        }
    }
    rows
}

fn open_fast(site: &Site, kind: Kind, peer: &Peer, form: &str) -> Result<Outcome> {
    let client = site.socket(kind)?;
    if form == "MSG_FASTOPEN" {
        let flag = SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned());
        let flags = flag | SendFlags::NOSIGNAL;
        done!(sendto(&client, b"ping", flags, &peer.address()));
    } else {
        client.set(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)?;
        done!(client.connect(peer.address()));
        done!(client.send(None, b"ping"));
    }
    let accepted = peer.accept()?;
    ensure!(accepted.receive_connected()? == b"ping", "no ping");
    Ok(Ok(accepted.peer()?.ip()))
}

/// A name that has addresses of both families, under policies with one family and with
/// both.
fn names() -> Vec<Row> {
    let lines: [(Policy, &[IpAddr]); 3] = [(V4, &[CIP4]), (V6, &[CIP6]), (BOTH, &[CIP4, CIP6])];
    let trial = |(policy, expected): (Policy, &'static [IpAddr])| {
        Row::alone(
            "C11",
            format!("C11 getaddrinfo, then connect to a name of both families [{policy:?}]"),
            move || Net::isolated(move |net| by_name(net, policy, expected)),
        )
    };
    lines.map(trial).into()
}

fn by_name(_: Net, policy: Policy, expected: &[IpAddr]) -> Result<()> {
    host::private_bpffs()?;
    let hosts = tempfile::NamedTempFile::new()?;
    std::fs::write(
        hosts.path(),
        format!("{PEER4} twin.test\n{PEER6} twin.test\n"),
    )?;
    host::replace(Path::new("/etc/hosts"), hosts.path())?;
    let peers = [PEER4, PEER6].map(|peer| Peer::at(true, SocketAddr::new(peer, PORT)));
    let [Ok(four), Ok(six)] = peers else {
        anyhow::bail!("no peer at one of the families");
    };

    let cgroup = Cgroup::new()?;
    let hook = Hook::new()?;
    let port = PORT.to_string();
    let mut run = hook.command("run");
    run.args(policy.options())
        .arg("--")
        .arg(built("named-client")?);
    run.args(["twin.test", &port]);
    let output = process::run(&mut inside(&cgroup, &run), b"")?;
    ensure!(output.status.success(), "{output:?}");
    let local: IpAddr = output.stdout.trim().parse().context("an address")?;
    ensure!(expected.contains(&local), "it connected from {local}");
    let peer = if local.is_ipv4() { four } else { six };
    let seen = peer.accept()?.peer()?.ip();
    ensure!(seen == local, "the peer saw {seen}, the client {local}");
    Ok(())
}

/// Connects that return before they have completed: one, and a crowd.
fn without_waiting() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, kind, to, own, host) in [
        (WITH4, TCP4, PEER4, CIP4, HOST4),
        (WITH4, UDP4, PEER4, CIP4, HOST4),
        (WITH6, TCP6, PEER6, CIP6, HOST6),
        (WITH6, TCP6.v6only(), PEER6, CIP6, HOST6),
    ] {
        let what = format!("{kind:?} connect {to} without waiting");
        let observe = move |site: &Site| -> Result<Outcome> {
            let peer = Peer::new(kind.tcp, to)?;
            let client = site.socket(kind)?;
            done!(start(&client, peer.address())?);
            if !kind.tcp {
                client.send(None, b"ping")?;
                return Ok(Ok(peer.receive()?.ip()));
            }
            let accepted = peer.accept()?;
            accepted.send(None, b"pong")?;
            first_ready(&[&client])?;
            ensure!(client.receive_connected()? == b"pong", "no pong");
            Ok(Ok(accepted.peer()?.ip()))
        };
        rows.extend(row("C12", &what, policies, observe, Ok(own), Ok(host)));
    }
    const GUARDED: &[Policy] = &[BOTH.loopback("auto").guarded()];
    for (kind, to, own, host) in [(TCP4, PEER4, CIP4, HOST4), (TCP6, PEER6, CIP6, HOST6)] {
        let what = format!("{kind:?} connect {to}, a thousand at once");
        let observe = move |site: &Site| crowd(site, kind, to);
        rows.extend(row("C12", &what, GUARDED, observe, vec![own], vec![host]));
    }
    rows
}

/// Starts a connect.
fn start(client: &Socket, to: SocketAddr) -> Result<Outcome<()>> {
    fcntl_setfl(client, fcntl_getfl(client)? | OFlags::NONBLOCK)?;
    Ok(match client.connect(to) {
        Err(Errno::INPROGRESS) => Ok(()),
        outcome => outcome,
    })
}

/// Starts a thousand connects, or as many as descriptors allow, and then accepts them:
/// where they came from.
fn crowd(site: &Site, kind: Kind, to: IpAddr) -> Result<Vec<IpAddr>> {
    // Two descriptors for each connection, and some for the test itself.
    let count = 1000.min((host::raise_descriptors()? - 64) / 2);
    let peer = Peer::new(true, to)?;
    let mut clients = Vec::new();
    for _ in 0..count {
        let client = site.socket(kind)?;
        client.reset_on_close()?;
        start(&client, peer.address())??;
        clients.push(client);
    }
    let mut accepted = Vec::new();
    for _ in &clients {
        accepted.push(peer.accept()?);
    }
    let mut seen = Vec::new();
    for connection in &accepted {
        seen.push(connection.peer()?.ip());
    }
    seen.sort();
    seen.dedup();
    Ok(seen)
}
