//! What one call pays: the same calls by processes in cgroups under policies, by
//! some that go without a hook in the ways that a user could choose, and by a
//! plain one, batch by batch in turn, so that the ratio holds on a noisy machine.
//! `no program` shows how far the method can be off.

mod sides;
mod table;

use anyhow::Result;
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::{HOST6, Net, PEER4};
use oci_bind_hook_tests::results::Results;
use oci_bind_hook_tests::socket::{Kind, Socket, TCP4, TCP6, UDP4, UDP6, at};
use rustix::net::sockopt;

use sides::Side;
use table::{CALLS, Call, Peers};

const BATCHES: usize = 150;

fn main() -> Result<()> {
    host::set_up()?;
    let mut results = Results::new(
        "calls",
        "One call against the same one, or one with the same result, of a plain process",
    );
    Net::isolated(|net| {
        let mut sides = sides::all()?;
        let servers = [serve(TCP4, &net)?, serve(TCP6, &net)?];
        let sinks = [serve(UDP4, &net)?, serve(UDP6, &net)?];
        let peers = Peers {
            tcp: [servers[0].local()?, servers[1].local()?],
            udp: [sinks[0].local()?, sinks[1].local()?],
        };
        for call in CALLS {
            measure(&mut results, call, &peers, &servers, &mut sides)?;
        }
        Ok(())
    })?;
    results.print_matrix();
    results.finish()
}

/// What is called; datagrams are not read, and dropped once there are some.
fn serve(kind: Kind, net: &Net) -> Result<Socket> {
    let socket = Socket::new(kind)?;
    let address = if kind.v6 { HOST6 } else { PEER4 };
    socket.bind(at(address, 0, net.link()))?;
    if kind.tcp {
        socket.listen()?;
    } else {
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    Ok(socket)
}

fn measure(
    results: &mut Results,
    call: &Call,
    peers: &Peers,
    servers: &[Socket; 2],
    sides: &mut [Side],
) -> Result<()> {
    let mut times = vec![Vec::new(); sides.len()];
    for batch in 0..BATCHES {
        // Who comes after whom makes a difference.
        for turn in 0..sides.len() {
            let at = (batch + turn) % sides.len();
            let address = if at == 0 { call.plain } else { call.inside };
            times[at].push(sides[at].time(call, address.of(peers))?);
            for server in servers {
                while server.has_input()? {
                    server.accept()?.reset_on_close()?;
                }
            }
        }
    }
    let (plain, others) = times.split_first().expect("a plain side");
    for (side, times) in sides[1..].iter().zip(others) {
        let target = call.target.filter(|_| side.has_targets());
        results.pairs(side.name(), call.name, "ns", [plain, times], target);
    }
    Ok(())
}
