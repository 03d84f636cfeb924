//! B10: which dual-stack UDP servers at `::` hear a datagram, and from when on.

use anyhow::{Result, ensure};
use libc::{SO_REUSEADDR, SOL_SOCKET};
use oci_bind_hook_tests::far::Host;
use oci_bind_hook_tests::net::{ANY6, CIP4, CIP6, ip, require_dual};
use oci_bind_hook_tests::socket::{Socket, at, first_ready};

use crate::dual_datagrams;
use crate::dual_options::{POLICIES, Test, Way, caller, deliver, hear, hear_answer, trials};
use crate::dual_servers::plainly;
use crate::observe::PORT;
use crate::row::{Row, Scene, Site, row};

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let tests: [(_, Test); 2] = [("SO_REUSEADDR", newest), ("at once after bind", at_once)];
    let mut rows: Vec<_> = tests
        .into_iter()
        .flat_map(|(what, test)| trials(what, test))
        .collect();
    // Fragments enter the host one by one, and only the first has ports.
    let what = format!("udp6 server at {ANY6}, hears fragments over IPv4 and IPv6");
    let inside = [true, false];
    rows.extend(row("B10", &what, POLICIES, fragments, inside, [true; 2]));
    rows.push(dual_datagrams::trial("called by another host", afar));
    rows
}

/// Of two servers at one port the newer one hears, and the other once that has gone.
fn newest(site: &Site, way: Way) -> Result<()> {
    let reusing = |socket: &Socket| socket.set(SOL_SOCKET, SO_REUSEADDR, 1);
    let first = way.serve(site, reusing)?;
    let port = first.local()?.port();
    let second = Way { port, ..way }.serve(site, reusing)?;
    let client = caller(way.address(&first)?)?;
    for _ in 0..3 {
        client.send(None, b"ping")?;
        let heard = first_ready(&[&first, &second, &client])?;
        ensure!(heard == 1, "the newest does not hear it: {heard}");
        hear(&second, b"ping")?;
    }
    drop(second);
    deliver(&client, &first, b"ping")?;
    hear(&first, b"ping")
}

fn at_once(site: &Site, way: Way) -> Result<()> {
    let port = way.pair(site)?.0.local()?.port();
    let way = Way { port, ..way };
    let client = caller(way.address(&way.serve(site, plainly)?)?)?;
    for _ in 0..200 {
        let server = way.serve(site, plainly)?;
        deliver(&client, &server, b"ping")?;
        hear(&server, b"ping")?;
    }
    Ok(())
}

/// Its datagrams enter the host through another device than the loopback one.
fn afar(scene: &Scene) -> Result<()> {
    let [router, far] = Host::beyond()?;
    scene.attach(POLICIES[0])?;
    let server = dual_datagrams::open(&scene.agent, PORT, plainly)?;
    for (host, to) in [(&router, CIP4), (&far, CIP4), (&router, CIP6), (&far, CIP6)] {
        let client = host.within(|| caller(at(to, PORT, 0)))?;
        deliver(&client, &server, b"ping")?;
        let (payload, from) = server.receive()?;
        ensure!(payload == b"ping", "it hears {payload:?}");
        server.send(Some(from), b"pong")?;
        hear_answer(&client, b"pong")?;
    }
    Ok(())
}

/// Whether a datagram that is too large for the device is heard, over IPv4 and over IPv6.
fn fragments(site: &Site) -> Result<[bool; 2]> {
    require_dual()?;
    ip(&["link", "set", "lo", "mtu", "1500"], "")?;
    let is_heard = |way: Way| -> Result<bool> {
        let (server, client) = way.pair(site)?;
        client.send(None, &[0; 2000])?;
        Ok(first_ready(&[&server, &client])? == 0)
    };
    Ok([
        is_heard(Way::of(PORT, false))?,
        is_heard(Way::of(PORT, true))?,
    ])
}
