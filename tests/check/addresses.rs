//! The addresses of the host, and those that move between hosts.

use std::fs;

use anyhow::{Context, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::net::{CIP4, OTHER6};

use crate::place::{CONFIG, note, ok, trial, write};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    [usable(), failover()].into_iter().flatten().collect()
}

fn usable() -> Vec<Trial> {
    const SUBJECT: &str = "addresses";
    vec![
        trial("addresses are listed", |place| {
            let words = [CIP4.to_string(), OTHER6.to_string()];
            let said = place.check(&[])?;
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let (line, _) = said.line("ok", SUBJECT, &words)?;
            ensure!(
                !line.contains("127.0.0.1") && !line.contains("fe80"),
                "{line}"
            );
            Ok(())
        }),
        note(
            "addresses: a tentative one",
            |place| place.net.add_tentative("2001:db8::99".parse()?),
            SUBJECT,
            &["2001:db8::99", "tentative"],
        ),
        note(
            "addresses: none may be claimed",
            |_| write(CONFIG, "allow = [\"203.0.113.0/24\"]\n"),
            SUBJECT,
            &["does not allow any"],
        ),
    ]
}

/// Addresses that move between hosts.
fn failover() -> Vec<Trial> {
    const SUBJECT: &str = "failover";
    const SYSCTLS: [&str; 2] = ["net.ipv4.ip_nonlocal_bind", "net.ipv6.ip_nonlocal_bind"];
    let allow = |names: &[&str]| {
        write(CONFIG, "require-local-address = false\n")?;
        names.iter().try_for_each(|name| {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            fs::write(&path, "1").with_context(|| format!("write {path}"))
        })
    };
    vec![
        note(
            "failover: servers cannot be bound",
            move |_| allow(&[]),
            SUBJECT,
            &["net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1"],
        ),
        trial("failover: they can over IPv4", move |place| {
            allow(&SYSCTLS[..1])?;
            let said = place.check(&[])?;
            let (_, remedy) = said.line("note", SUBJECT, &["EADDRNOTAVAIL"])?;
            ensure!(
                remedy.contains("net.ipv6.") && !remedy.contains("net.ipv4."),
                "{remedy}"
            );
            Ok(())
        }),
        ok(
            "failover: they can over both",
            move |_| allow(&SYSCTLS),
            SUBJECT,
            &["can be bound"],
        ),
        trial(
            "no failover without require-local-address = false",
            |place| {
                let said = place.check(&[])?;
                ensure!(said.line("note", SUBJECT, &[]).is_err(), "it has a note");
                ensure!(said.line("ok", SUBJECT, &[]).is_err(), "it has a line");
                Ok(())
            },
        ),
    ]
}
