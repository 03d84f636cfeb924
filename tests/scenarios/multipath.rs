//! B20: Multipath TCP, which no program under a policy can use.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use oci_bind_hook_tests::hook::{BOTH, Policy, V4, V6};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, has_dual};
use oci_bind_hook_tests::reach::{PROBED, answered};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6};
use rustix::io::Errno;
use rustix::net::SocketType;

use crate::observe::PORT;
use crate::row::{ANY_POLICY, Row, Scene, Site, denied, row};

/// `IPPROTO_MPTCP`
const MPTCP: u32 = 262;

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in [TCP4, TCP6] {
        let what = format!("{kind:?} socket for MPTCP");
        let call = move |site: &Site| Ok(open(site, kind)?.map(drop));
        let inside = denied(Errno::PROTONOSUPPORT);
        rows.extend(row("B20", &what, ANY_POLICY, call, inside, Ok(())));
    }
    const POLICIES: [(&[Policy], &[IpAddr]); 3] =
        [(&[V4], &[CIP4]), (&[V6], &[CIP6]), (&[BOTH], &[CIP4, CIP6])];
    for (policy, places) in POLICIES {
        let both_but_old = places.len() > 1 && !has_dual();
        let inside = if both_but_old { &[CIP6] } else { places };
        let what = "a server at :: that falls back to TCP, where it answers";
        let call = fall_back;
        rows.extend(row(
            "B20",
            what,
            policy,
            call,
            inside.to_vec(),
            PROBED.to_vec(),
        ));
    }
    rows.push(Scene::row(
        "B20",
        "a socket made before the policy",
        made_before,
    ));
    rows
}

/// A socket for MPTCP. Skips the trial if the kernel does not support it.
pub fn open(site: &Site, kind: Kind) -> Result<Outcome<Socket>> {
    site.outside().open(kind, SocketType::STREAM, MPTCP)?;
    match site.make(kind, SocketType::STREAM, MPTCP)? {
        Ok(fd) => Ok(Ok(Socket::unusual(fd, kind)?)),
        Err(errno) => Ok(Err(errno)),
    }
}

/// As Go does it: with TCP, whatever the error.
fn fall_back(site: &Site) -> Result<Vec<IpAddr>> {
    let server = match open(site, TCP6)? {
        Ok(server) => server,
        Err(_) => site.socket(TCP6)?,
    };
    server.bind(site.at(ANY6, PORT))?;
    server.listen()?;
    answered(&server)
}

/// It is no longer refused, but bound as with TCP.
fn made_before(scene: &Scene) -> Result<()> {
    let site = scene.inside();
    let server = open(&site, TCP4)??;
    scene.attach(V4)?;
    server.bind(site.at(ANY4, PORT))?;
    server.listen()?;
    let places = answered(&server)?;
    ensure!(places == [CIP4], "it answers at {places:?}");
    Ok(())
}
