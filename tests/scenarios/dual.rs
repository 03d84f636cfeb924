//! B10: one `::` server that answers at both assigned addresses.

use std::net::IpAddr;

use anyhow::Result;
use libc::{SO_BINDTOIFINDEX, SOL_SOCKET};
use oci_bind_hook_tests::hook::BOTH;
use oci_bind_hook_tests::net::{ANY6, CIP4, CIP6, HOST4, HOST6, PEER4, PEER6, has_dual, mapped};
use oci_bind_hook_tests::reach::{self, answered};
use oci_bind_hook_tests::socket::{Outcome, Socket, TCP6, UDP6};
use rustix::io::Errno;

use crate::observe::{PORT, Peer, dial, done};
use crate::row::{Row, Site, WITH_BOTH, row};

const MAPPED_CIP: IpAddr = mapped(CIP4);
const EVERYWHERE: [IpAddr; 8] = reach::PROBED;

/// Where a server believes it is, and where it answers.
type Seen = Outcome<(IpAddr, Vec<IpAddr>)>;

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let plain = || Ok((ANY6, EVERYWHERE.to_vec()));
    let both = if has_dual() {
        Ok((MAPPED_CIP, vec![CIP4, CIP6]))
    } else {
        Ok((CIP6, vec![CIP6]))
    };
    let mut rows = Vec::new();
    for (kind, port) in [(TCP6, PORT), (TCP6, 0), (UDP6, PORT), (UDP6, 0)] {
        let inside = both.clone();
        let what = format!("{kind:?} bind {ANY6} port {port}, where it answers");
        let call = move |site: &Site| serve(&site.socket(kind)?, site, port);
        rows.extend(row("B10", &what, WITH_BOTH, call, inside, plain()));
    }
    let moved = &[BOTH.ports("8080:8081/tcp")];
    let call = |site: &Site| serve(&site.socket(TCP6)?, site, PORT);
    let what = "tcp6 bind :: to a moved port, where it answers";
    rows.extend(row("B10", what, moved, call, both, plain()));
    // It hears only its device, as the kernel has it.
    let call = |site: &Site| -> Result<Outcome> {
        let server = site.socket(TCP6)?;
        server.set(
            SOL_SOCKET,
            SO_BINDTOIFINDEX,
            site.net().link().cast_signed(),
        )?;
        done!(server.bind(site.at(ANY6, PORT)));
        Ok(Ok(server.local()?.ip()))
    };
    let what = "tcp6 of one device bind ::";
    rows.extend(row("B10", what, WITH_BOTH, call, Ok(CIP6), Ok(ANY6)));
    // A client that binds to `::` before it connects.
    for (kind, port) in [(TCP6, PORT), (TCP6, 0), (UDP6, PORT), (UDP6, 0)] {
        for (to, called, plain) in [(PEER6, PEER6, HOST6), (PEER4, mapped(PEER4), HOST4)] {
            let what = format!("{kind:?} bound to :: port {port} connect {called}");
            let call = move |site: &Site| {
                let client = site.socket(kind)?;
                client.bind(site.at(ANY6, port))?;
                if kind.tcp {
                    client.reset_on_close()?;
                }
                dial(&client, &Peer::new(kind.tcp, called)?)
            };
            rows.extend(row("C5", &what, WITH_BOTH, call, connected(to), Ok(plain)));
        }
    }
    rows
}

/// What happens to such a client: it is taken for a server.
fn connected(to: IpAddr) -> Outcome {
    match (has_dual(), to) {
        (true, PEER4) => Ok(CIP4),
        (true, _) => Err(Errno::AFNOSUPPORT),
        (false, PEER4) => Err(Errno::NETUNREACH),
        (false, _) => Ok(CIP6),
    }
}

/// Binds to `::` and listens.
fn serve(server: &Socket, site: &Site, port: u16) -> Result<Seen> {
    done!(server.bind(site.at(ANY6, port)));
    if server.kind().tcp {
        server.listen()?;
    }
    Ok(Ok((server.local()?.ip(), answered(server)?)))
}
