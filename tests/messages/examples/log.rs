//! What is in syslog.

use anyhow::{Result, ensure};
use oci_bind_hook_tests::container;
use oci_bind_hook_tests::hook::V4;
use oci_bind_hook_tests::syslog::Daemon;
use regex::Regex;

use super::show::Stage;

/// A container that starts, one that does not, and a service.
pub fn syslog(stage: &Stage) -> Result<String> {
    let daemon = Daemon::start()?;
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

/// How two containers came to start, under `debug = true`: the first loads the
/// programs.
pub fn debug(stage: &Stage) -> Result<String> {
    let daemon = Daemon::start()?;
    let hook = &stage.scene.hook;
    std::fs::write(
        hook.config(),
        "allow = [\"192.0.2.0/24\"]\ndebug = true\n[defaults]\nloopback = \"host\"\nguard = \"off\"\n",
    )?;
    let web = stage.container()?;
    stage.scene.name_process(web.init.id(), "PID");
    let created = hook.create_runtime(web.state_with(V4).to_string().as_bytes())?;
    ensure!(created.status.success(), "{created:?}");
    let again = hook.create_runtime(web.state_with(V4).to_string().as_bytes())?;
    ensure!(again.status.success(), "{again:?}");
    let elapsed = Regex::new(r"after \d+ ms")?;
    Ok(elapsed
        .replace_all(&lines(&daemon)?, "after N ms")
        .into_owned())
}

/// What the daemon has got, without the time and the number in front.
fn lines(daemon: &Daemon) -> Result<String> {
    let head = Regex::new(r"^<\d+>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d oci-bind-hook\[\d+\]: ")?;
    let mut text = String::new();
    for line in daemon.received()? {
        ensure!(head.is_match(&line), "not as RFC 3164 has it: {line}");
        text.push_str(&head.replace(line.trim_end(), "oci-bind-hook[PID]: "));
        text.push('\n');
    }
    Ok(text)
}
