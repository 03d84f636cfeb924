//! What reaches sockets past the hooks of a cgroup: kernel services and routing headers.

use std::fs;
use std::path::Path;

use super::Finding;

/// A module's directory, which exists while it is loaded.
const RDS: &str = "/sys/module/rds_tcp";
/// Has a directory for each device of the network namespace, and `all`.
const DEVICES: &str = "/proc/sys/net/ipv6/conf";

/// Reports which of these this host has; hardly any host has one.
pub fn findings() -> Vec<Finding> {
    const SUBJECT: &str = "protocols";
    let mut findings = Vec::new();
    if Path::new(RDS).exists() {
        findings.push(Finding::note(
            SUBJECT,
            "the module rds_tcp is loaded: its connections belong to the kernel, and no policy \
             applies to them",
            "if nothing needs it, unload it (rmmod rds_tcp), and block it in /etc/modprobe.d",
        ));
    }
    let devices = segment_routed();
    if !devices.is_empty() {
        findings.push(Finding::note(
            SUBJECT,
            &format!(
                "seg6_enabled is on for {}: a segment routing header changes where a packet goes \
                 after the policy has been applied",
                devices.join(", ")
            ),
            "if nothing needs it, sysctl -w net.ipv6.conf.all.seg6_enabled=0",
        ));
    }
    findings
}

/// Returns the devices that accept packets with a segment routing header: it must be on
/// for them and for `all` (`ipv6_srh_rcv`).
fn segment_routed() -> Vec<String> {
    let is_on = |device: &str| {
        let path = format!("{DEVICES}/{device}/seg6_enabled");
        fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
    };
    if !is_on("all") {
        return Vec::new();
    }
    let devices = fs::read_dir(DEVICES).into_iter().flatten().flatten();
    let names = devices.map(|device| device.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names
        .filter(|name| !matches!(name.as_str(), "all" | "default") && is_on(name))
        .collect();
    names.sort();
    names
}
