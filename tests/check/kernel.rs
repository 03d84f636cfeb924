//! What the programs do: where somebody else's program spoils it, `check` must
//! see that.

use std::net::IpAddr;

use anyhow::{Result, bail};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::foreign::{BIND4, CONNECT4, Foreign, Member, Mode, SENDMSG4};
use oci_bind_hook_tests::hook::V6;
use oci_bind_hook_tests::net::{HOST4, has_dual};
use oci_bind_hook_tests::socket::{TCP4, at};
use rustix::io::Errno;

use crate::place::{Place, problem, trial};

const SUBJECT: &str = "kernel";
/// What the probe assigns.
const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));
/// Another address that its network has.
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 20));

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("kernel: what is promised", |place| {
            let said = place.check(&[])?;
            for name in ["bind", "connect", "send", "loopback", "guard"] {
                said.line("ok", SUBJECT, &[&format!("{name}: ")])?;
            }
            Ok(())
        }),
        trial("kernel: servers of both families", |place| {
            let level = if has_dual() { "ok" } else { "note" };
            let said = place.check(&[])?;
            said.line(level, SUBJECT, &["dual-stack: ", "server at ::"])?;
            if has_dual() {
                said.line("ok", SUBJECT, &["dual-stack: ", "UDP"])?;
            }
            Ok(())
        }),
        trial("kernel: the errno of a refusal", |place| {
            let container = Container::new()?;
            place.hook.attach(&container.cgroup, V6)?;
            let refused = container.init.socket(TCP4)?.bind(at(HOST4, 0, 0));
            let said = place.check(&[])?;
            // From Linux 5.18 on a program can choose.
            match refused {
                Err(Errno::ADDRNOTAVAIL) => {
                    said.line("ok", SUBJECT, &["refusal: ", "EADDRNOTAVAIL"])
                }
                Err(Errno::PERM) => said.line("note", SUBJECT, &["refusal: ", "EPERM"]),
                other => bail!("a bind that it refuses gives {other:?}"),
            }
            .map(drop)
        }),
        problem(
            "kernel: an exclusive program above",
            |place| above(place, &Foreign::permit(CONNECT4)?, Mode::Exclusive),
            SUBJECT,
            &["attach connect4", "exclusive"],
        ),
        problem(
            "kernel: a program above refuses to bind",
            |place| above(place, &Foreign::refuse(BIND4)?, Mode::Multi),
            SUBJECT,
            &["bind to 192.0.2.20", "not permitted"],
        ),
        problem(
            "kernel: a program above moves what is bound",
            |place| {
                let mover = Foreign::replace(BIND4, Member::UserIp4, OWN, OTHER)?;
                above(place, &mover, Mode::Multi)
            },
            SUBJECT,
            &["bind: ", "192.0.2.20 instead of 192.0.2.10"],
        ),
        problem(
            "kernel: a program above refuses to connect",
            |place| above(place, &Foreign::refuse(CONNECT4)?, Mode::Multi),
            SUBJECT,
            &["connect: "],
        ),
        problem(
            "kernel: a program above moves the source of datagrams",
            |place| {
                let mover = Foreign::replace(SENDMSG4, Member::MsgSrcIp4, OWN, OTHER)?;
                above(place, &mover, Mode::Multi)
            },
            SUBJECT,
            &["send: "],
        ),
    ]
}

/// Puts a program on the cgroup below which `check` makes its own.
fn above(place: &Place, program: &Foreign, mode: Mode) -> Result<()> {
    program.attach(&place.cgroup, mode)
}
