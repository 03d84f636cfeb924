//! What is in syslog.

use std::os::unix::net::UnixDatagram;

use anyhow::{Context, Result, ensure};
use oci_bind_hook_tests::hook::V4;
use oci_bind_hook_tests::{container, host};
use regex::Regex;

use super::show::Stage;

/// A container that starts, one that does not, and a service.
pub fn syslog(stage: &Stage) -> Result<String> {
    host::own_dev()?;
    let daemon = UnixDatagram::bind("/dev/log").context("bind /dev/log")?;
    let web = stage.container()?;
    let hook = &stage.scene.hook;
    let created = hook.create_runtime(web.state_with(V4).to_string().as_bytes())?;
    ensure!(created.status.success(), "{created:?}");
    let bad = container::annotations(V4.ports("80"));
    let state = web.state(&container::borrowed(&bad));
    let refused = hook.create_runtime(state.to_string().as_bytes())?;
    ensure!(!refused.status.success(), "{refused:?}");
    let service = stage.system.child("web.service")?;
    hook.attach(&service, V4)?;
    hook.detach(&service)?;
    lines(&daemon)
}

/// What the daemon has got, without the time and the number in front.
fn lines(daemon: &UnixDatagram) -> Result<String> {
    daemon.set_nonblocking(true)?;
    let head = Regex::new(r"^<\d+>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d oci-bind-hook\[\d+\]: ")?;
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = daemon.recv(&mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
        ensure!(head.is_match(&line), "not as RFC 3164 has it: {line}");
        text.push_str(&head.replace(line.trim_end(), "oci-bind-hook[PID]: "));
        text.push('\n');
    }
    Ok(text)
}
