//! Addresses that move between hosts, as with keepalived: whether servers can be bound to one
//! while another host has it.

use std::fs;
use std::io::ErrorKind;

use super::Finding;
use crate::input::config::Config;

const SUBJECT: &str = "failover";
/// What lets a socket bind to an address that the network namespace does not have (ip(7)).
const SYSCTLS: [&str; 2] = ["net.ipv4.ip_nonlocal_bind", "net.ipv6.ip_nonlocal_bind"];

/// Reports whether this network namespace lets servers do so, if the configuration lets
/// containers start without their address.
pub fn finding(config: &Config) -> Option<Finding> {
    if config.require_local_address {
        return None;
    }
    let mut off = Vec::new();
    for name in SYSCTLS {
        match value(name) {
            Ok(value) if value.trim_end() == "0" => off.push(name),
            // Without IPv6 it is not there.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let message = format!("read {name}: {error}");
                return Some(Finding::note(SUBJECT, &message, "mount proc at /proc"));
            }
        }
    }
    Some(judge(&off))
}

fn value(name: &str) -> std::io::Result<String> {
    fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/")))
}

/// Makes the finding for those that are off.
fn judge(off: &[&str]) -> Finding {
    if off.is_empty() {
        return Finding::ok(
            SUBJECT,
            "require-local-address is off, and servers can be bound to an address that is \
             not there",
        );
    }
    let settings: Vec<_> = off.iter().map(|name| format!("{name}=1")).collect();
    Finding::note(
        SUBJECT,
        &format!(
            "require-local-address is off, but not {}: a bind fails with EADDRNOTAVAIL while \
             another host has the address",
            settings.join(" ")
        ),
        &format!(
            "sysctl -w {}; write the same to a file in /etc/sysctl.d",
            settings.join(" ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::check::Level;

    #[test]
    fn names_what_is_off() {
        assert_eq!(judge(&[]).level, Level::Ok);
        let both = judge(&SYSCTLS);
        assert_eq!(both.level, Level::Note);
        let remedy = both.remedy.unwrap();
        assert!(
            remedy.contains("net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1"),
            "{remedy}"
        );
        let one = judge(&SYSCTLS[1..]).remedy.unwrap();
        assert!(!one.contains("net.ipv4."), "{one}");
    }
}
