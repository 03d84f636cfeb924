//! Two containers with a server of both families each, at one port: one of
//! them ends, by itself or not, and comes again.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::hook::{BOTH, NEIGHBOUR};
use oci_bind_hook_tests::net::{CIP4, CIP6, Net, OTHER4, OTHER6, mapped};
use oci_bind_hook_tests::{harness, places, reach};

use crate::any6::SERVERS;
use crate::any6_datagrams;
use crate::pair::{Pair, explain};
use crate::program::Program;
use crate::server::Server;
use crate::tool;

/// One for each server of both families.
pub fn trials() -> Vec<Trial> {
    let trial = |(program, port): &'static (Program, u16)| {
        let name = format!("{}: two at one port, one comes again", program.name);
        harness::trial(name, move || {
            tool::require(program.needs)?;
            program.binds.require(BOTH)?;
            Net::isolated(|_| check(program, *port))
        })
    };
    let datagrams = |program: &'static Program| {
        let name = format!("{}: two at one port, one comes again", program.name);
        harness::trial(name, move || {
            tool::require(program.needs)?;
            program.binds.require(BOTH)?;
            Net::isolated(|_| check_datagrams(program))
        })
    };
    let streams = SERVERS.iter().map(trial);
    streams
        .chain(any6_datagrams::SERVERS.iter().map(datagrams))
        .collect()
}

type End = fn(Server) -> Result<()>;

const WAYS: [(&str, End); 2] = [
    ("after SIGTERM", Server::end),
    ("after SIGKILL", Server::kill),
];

fn check(program: &'static Program, port: u16) -> Result<()> {
    let [one, two] = [BOTH, NEIGHBOUR].map(|policy| Pair::new(program, policy));
    let (one, two) = (one?, two?);
    let (own, others) = ([CIP4, CIP6], [OTHER4, OTHER6]);
    let neighbour = two.start()?;
    answer(&two, &neighbour, others).context("alone at the port")?;
    reach::assert_refused(&own, port)?;
    let mut server = one.start()?;
    answer(&one, &server, own).context("side by side")?;
    // Each has one socket, which answers to both addresses.
    let mut sockets = places::listeners(port)?;
    sockets.sort_unstable();
    ensure!(
        sockets == [mapped(CIP4), mapped(OTHER4)],
        "they listen at {sockets:?}"
    );
    for (way, end) in WAYS {
        end(server).context(way)?;
        reach::assert_refused(&own, port).context(way)?;
        // Who calls a server that is gone does not come to its neighbour.
        answer(&two, &neighbour, others).context(way)?;
        server = one.start()?;
        answer(&one, &server, own).context(way)?;
    }
    neighbour.end()?;
    reach::assert_refused(&others, port)?;
    explain(&server, one.assert_reached(&server, &own))?;
    server.end()
}

fn check_datagrams(program: &'static Program) -> Result<()> {
    let [one, two] = [BOTH, NEIGHBOUR].map(|policy| Pair::new(program, policy));
    let (one, two) = (one?, two?);
    let neighbour = two.start()?;
    answer(&two, &neighbour, [OTHER4, OTHER6]).context("alone at the port")?;
    let mut server = one.start()?;
    for (way, end) in WAYS {
        answer(&one, &server, [CIP4, CIP6]).context("side by side")?;
        end(server).context(way)?;
        answer(&two, &neighbour, [OTHER4, OTHER6]).context(way)?;
        server = one.start()?;
    }
    answer(&one, &server, [CIP4, CIP6])?;
    neighbour.end()?;
    server.end()
}

/// Fails unless the server, once it is ready, answers at these addresses.
fn answer(pair: &Pair, server: &Server, places: [IpAddr; 2]) -> Result<()> {
    for place in places {
        explain(server, pair.await_answer(server, place))?;
    }
    Ok(())
}
