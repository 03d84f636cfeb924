//! B1 to B14: where a server that binds to an address ends up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use oci_bind_hook_tests::hook::Policy;
use oci_bind_hook_tests::net::{
    ANY4, ANY6, CIP4, CIP6, EVERYBODY, LINK6, LOOP4, LOOP6, NETWORK, OTHER4, OTHER6, mapped,
};
use oci_bind_hook_tests::socket::{Kind, Outcome, TCP4, TCP6, UDP4, UDP6, bind_unspec};
use rustix::io::Errno;

use crate::observe::{PORT, answer, bind, bind_port0, done};
use crate::row::{ANY_POLICY, Row, Site, WITH4, WITH6, WITHOUT4, WITHOUT6, denied, row};

const LOOP4_ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 9, 8, 7));
const GROUP4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251));
const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfb));
const MAPPED_ANY: IpAddr = mapped(ANY4);
const MAPPED_LOOP: IpAddr = mapped(LOOP4);
const MAPPED_CIP: IpAddr = mapped(CIP4);
const MAPPED_OTHER: IpAddr = mapped(OTHER4);

/// Row, policies, socket, requested address; where it is under the policy, and where
/// otherwise.
type Line = (
    &'static str,
    &'static [Policy],
    Kind,
    IpAddr,
    Outcome,
    Outcome,
);

/// Calls that end up elsewhere, or nowhere.
#[rustfmt::skip]
fn moved() -> Vec<Line> {
    let nowhere = denied(Errno::ADDRNOTAVAIL);
    vec![
        ("B1", WITH4, TCP4, ANY4, Ok(CIP4), Ok(ANY4)),
        ("B2", WITH4, UDP4, ANY4, Ok(CIP4), Ok(ANY4)),
        ("B4", WITH4, TCP4, OTHER4, Ok(CIP4), Ok(OTHER4)),
        ("B4", WITH4, UDP4, OTHER4, Ok(CIP4), Ok(OTHER4)),
        ("B4", WITH6, TCP6, OTHER6, Ok(CIP6), Ok(OTHER6)),
        ("B4", WITH6, UDP6, OTHER6, Ok(CIP6), Ok(OTHER6)),
        ("B8", WITHOUT6, TCP6, ANY6, Ok(MAPPED_CIP), Ok(ANY6)),
        ("B8", WITHOUT6, UDP6, ANY6, Ok(MAPPED_CIP), Ok(ANY6)),
        ("B9", WITHOUT4, TCP6, ANY6, Ok(CIP6), Ok(ANY6)),
        ("B9", WITHOUT4, UDP6, ANY6, Ok(CIP6), Ok(ANY6)),
        ("B11", WITH6, TCP6.v6only(), ANY6, Ok(CIP6), Ok(ANY6)),
        ("B11", WITH6, UDP6.v6only(), ANY6, Ok(CIP6), Ok(ANY6)),
        ("B12", WITH4, TCP6, MAPPED_ANY, Ok(MAPPED_CIP), Ok(MAPPED_ANY)),
        ("B12", WITH4, UDP6, MAPPED_ANY, Ok(MAPPED_CIP), Ok(MAPPED_ANY)),
        ("B12", WITH4, TCP6, MAPPED_OTHER, Ok(MAPPED_CIP), Ok(MAPPED_OTHER)),
        ("B12", WITH4, UDP6, MAPPED_OTHER, Ok(MAPPED_CIP), Ok(MAPPED_OTHER)),
        ("B13", WITHOUT4, TCP4, CIP4, nowhere, Ok(CIP4)),
        ("B13", WITHOUT4, UDP4, OTHER4, nowhere, Ok(OTHER4)),
        ("B13", WITHOUT4, UDP6, MAPPED_OTHER, nowhere, Ok(MAPPED_OTHER)),
        ("B13", WITHOUT6, TCP6, CIP6, nowhere, Ok(CIP6)),
        ("B13", WITHOUT6, UDP6, OTHER6, nowhere, Ok(OTHER6)),
    ]
}

/// Calls that a policy does not change.
#[rustfmt::skip]
const UNCHANGED: &[(&str, &[Policy], Kind, IpAddr)] = &[
    ("B5", WITH4, TCP4, CIP4),
    ("B5", WITH4, UDP4, CIP4),
    ("B5", WITH4, TCP6, MAPPED_CIP),
    ("B5", WITH6, TCP6, CIP6),
    ("B5", WITH6, UDP6, CIP6),
    ("B6", ANY_POLICY, TCP4, LOOP4),
    ("B6", ANY_POLICY, UDP4, LOOP4),
    ("B6", WITH4, TCP4, LOOP4_ELSEWHERE),
    ("B6", ANY_POLICY, TCP6, LOOP6),
    ("B6", ANY_POLICY, UDP6, LOOP6),
    ("B6", ANY_POLICY, TCP6, MAPPED_LOOP),
    ("B6", ANY_POLICY, UDP6, MAPPED_LOOP),
    ("B7", WITH4, UDP4, GROUP4),
    ("B7", WITH4, UDP4, EVERYBODY),
    ("B7", WITH4, UDP4, NETWORK),
    ("B7", WITH6, UDP6, GROUP6),
    ("B7", WITH6, UDP6, LINK6),
    ("B7", WITH6, TCP6, LINK6),
];

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (id, policies, kind, asked, inside, plain) in moved() {
        let what = format!("{kind:?} bind {asked}");
        rows.extend(row(
            id,
            &what,
            policies,
            move |site| bind(site, kind, asked),
            inside,
            plain,
        ));
    }
    for &(id, policies, kind, asked) in UNCHANGED {
        let what = format!("{kind:?} bind {asked}");
        let call = move |site: &Site| bind(site, kind, asked);
        rows.extend(row(id, &what, policies, call, Ok(asked), Ok(asked)));
    }
    for (policies, kind, asked, inside) in [
        (WITH4, TCP4, ANY4, CIP4),
        (WITH4, UDP4, ANY4, CIP4),
        (WITH4, TCP4, OTHER4, CIP4),
        (WITHOUT4, TCP6, ANY6, CIP6),
        (WITHOUT4, UDP6, ANY6, CIP6),
        (WITHOUT6, TCP6, ANY6, MAPPED_CIP),
    ] {
        let what = format!("{kind:?} bind {asked} port 0");
        let call = move |site: &Site| bind_port0(site, kind, asked);
        rows.extend(row("B3", &what, policies, call, Ok(inside), Ok(asked)));
    }
    for kind in [TCP4, UDP4] {
        let what = format!("{kind:?} bind 0.0.0.0 with AF_UNSPEC");
        let refused = denied(Errno::AFNOSUPPORT);
        rows.extend(row(
            "B14",
            &what,
            ANY_POLICY,
            move |site| {
                let server = site.socket(kind)?;
                done!(bind_unspec(&server, PORT));
                answer(&server, PORT)
            },
            refused,
            Ok(ANY4),
        ));
    }
    rows
}
