//! What `attach` says of what it has found: the policy that it has replaced, and sockets
//! that were bound before.

use std::fs;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::counters::{await_dropped, dropped};
use oci_bind_hook_tests::harness::contained;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR, Policy, V4};
use oci_bind_hook_tests::listener::Listener;
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, HOST4, LOOP4, Net};
use oci_bind_hook_tests::process;
use oci_bind_hook_tests::reach;
use oci_bind_hook_tests::socket::{Kind, Socket, TCP4, TCP6, UDP4, at};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        contained("attach tells of the policy that it replaces", replaced),
        contained("attach tells of a socket at another address", elsewhere),
        contained("attach tells of a socket at the wildcard address", wildcard),
        contained("attach tells of a socket at loopback", loopback),
        contained("attach tells of no socket that is in place", in_place),
        contained("attach tells of sockets in cgroups below", below),
        contained(
            "attach tells of sockets in other network namespaces",
            in_namespace,
        ),
        contained("attach tells which process has a socket", process),
        contained("attach tells of a socket of another cgroup", outside),
        contained("attach where sockets cannot be listed", unlisted),
    ]
}

fn replaced(hook: &Hook, container: &Container) -> Result<()> {
    let cgroup = &container.cgroup;
    assert_silent(hook, cgroup, V4.guarded())?;
    assert_silent(hook, cgroup, V4.guarded())?;
    assert_says(
        hook,
        cgroup,
        NEIGHBOUR.loopback("127.9.9.9").ports("80:8080"),
        &["replaced the policy 192.0.2.10 (loopback host, guard on)"],
    )?;
    assert_says(
        hook,
        cgroup,
        V4,
        &["replaced the policy 192.0.2.20 and 2001:db8::20 \
           (loopback 127.9.9.9, guard off, ports 80:8080)"],
    )?;
    hook.detach(cgroup)?;
    assert_silent(hook, cgroup, NEIGHBOUR)
}

/// It answers there without the guard, and does not with it.
fn elsewhere(hook: &Hook, container: &Container) -> Result<()> {
    let servers = [
        server(container, TCP4, HOST4)?,
        server(container, UDP4, HOST4)?,
    ];
    assert_says(
        hook,
        &container.cgroup,
        V4,
        &[
            "tcp 192.0.2.1:8080 keeps its address, and is still reached there: \
             restart the program",
            "udp 192.0.2.1:8080 keeps its address, and is still reached there: \
             restart the program",
        ],
    )?;
    for server in &servers {
        reach::assert_answers(server, at(HOST4, 8080, 0))?;
    }
    let said = hook.notices(&container.cgroup, V4.guarded())?;
    for protocol in ["tcp", "udp"] {
        let line = format!(
            "{protocol} 192.0.2.1:8080 keeps its address, and the guard drops what is sent there, \
             so callers wait in vain: restart the program"
        );
        ensure!(ends_with(&said, &line), "no {line}: {said:?}");
    }
    assert_dropped(container, &servers[1])
}

/// With the guard it answers at the assigned address alone, without it everywhere.
fn wildcard(hook: &Hook, container: &Container) -> Result<()> {
    let servers = [
        server(container, TCP4, ANY4)?,
        server(container, UDP4, ANY4)?,
    ];
    let wide = "keeps the wildcard address, and is still reached at every address: \
                restart the program";
    let lines = ["tcp", "udp"].map(|protocol| format!("{protocol} 0.0.0.0:8080 {wide}"));
    assert_says(
        hook,
        &container.cgroup,
        V4,
        &lines.each_ref().map(String::as_str),
    )?;
    for server in &servers {
        for address in [CIP4, HOST4] {
            reach::assert_answers(server, at(address, 8080, 0))?;
        }
    }
    let said = hook.notices(&container.cgroup, V4.guarded())?;
    for protocol in ["tcp", "udp"] {
        let line = format!(
            "{protocol} 0.0.0.0:8080 keeps the wildcard address: it is reached at 192.0.2.10, and \
             callers of the host's other addresses wait in vain: restart the program"
        );
        ensure!(ends_with(&said, &line), "no {line}: {said:?}");
    }
    for server in &servers {
        reach::assert_answers(server, at(CIP4, 8080, 0))?;
    }
    assert_dropped(container, &servers[1])
}

/// It is fine where loopback is the host's, and not where it is the container's own.
fn loopback(hook: &Hook, container: &Container) -> Result<()> {
    let _server = server(container, TCP4, LOOP4)?;
    assert_silent(hook, &container.cgroup, V4)?;
    assert_silent(hook, &container.cgroup, V4)?;
    hook.detach(&container.cgroup)?;
    assert_says(
        hook,
        &container.cgroup,
        V4.loopback("private"),
        &[
            "tcp 127.0.0.1:8080 keeps its loopback address, where calls from within the cgroup do \
           not go any more: restart the program",
        ],
    )?;
    let client = container.init.socket(TCP4)?;
    let outcome = client.connect(at(LOOP4, 8080, 0));
    ensure!(outcome.is_err(), "the container still gets through");
    Ok(())
}

/// Servers that bound under the policy, or at its address anyway, a client with a peer, and
/// a server of somebody else.
fn in_place(hook: &Hook, container: &Container) -> Result<()> {
    let _before = server(container, TCP4, CIP4)?;
    let client = container.init.socket(UDP4)?;
    client.connect(at(HOST4, 9, 0))?;
    let stranger = Socket::new(TCP4)?;
    stranger.bind(at(HOST4, 8081, 0))?;
    stranger.listen()?;
    assert_silent(hook, &container.cgroup, BOTH.guarded())?;
    let dual = container.init.socket(TCP6)?;
    dual.bind(at(ANY6, 8082, 0))?;
    dual.listen()?;
    assert_silent(hook, &container.cgroup, BOTH.guarded())
}

fn below(hook: &Hook, container: &Container) -> Result<()> {
    let child = container.cgroup.child("below")?;
    let process = Agent::new(&child)?;
    let server = process.socket(TCP4)?;
    server.bind(at(HOST4, 8080, 0))?;
    server.listen()?;
    let said = hook.notices(&container.cgroup, V4)?;
    ensure!(
        ends_with(&said, "still reached there: restart the program"),
        "{said:?}"
    );
    Ok(())
}

/// The command runs in another one than the cgroup's processes.
fn in_namespace(hook: &Hook, container: &Container) -> Result<()> {
    let _server = server(container, TCP4, HOST4)?;
    let path = container.cgroup.path().to_owned();
    let said = Net::isolated(move |_| {
        let mut attach = hook.command("attach");
        attach.arg("--cgroup").arg(path).args(V4.options());
        process::run(&mut attach, b"")
    })?;
    ensure!(said.status.success(), "{said:?}");
    ensure!(said.stderr.contains("tcp 192.0.2.1:8080 "), "{said:?}");
    Ok(())
}

fn process(hook: &Hook, container: &Container) -> Result<()> {
    let listener = Listener::start(&container.cgroup, at(HOST4, 8080, 0))?;
    let said = hook.notices(&container.cgroup, V4)?;
    let line = format!(
        "tcp 192.0.2.1:8080 of process {} (raw-listener) keeps its address, and is still reached \
         there: restart the program",
        listener.id()
    );
    ensure!(ends_with(&said, &line), "no {line}: {said:?}");
    Ok(())
}

/// A process that comes in with a socket: the policy does not apply to it.
fn outside(hook: &Hook, container: &Container) -> Result<()> {
    let first = Cgroup::new()?;
    let listener = Listener::start(&first, at(HOST4, 8080, 0))?;
    container.cgroup.take_in(listener.id())?;
    let said = hook.notices(&container.cgroup, V4.guarded())?;
    let line = format!(
        "tcp 192.0.2.1:8080 of process {} (raw-listener) was created in another cgroup, so the \
         policy does not apply to it: restart the program in this cgroup",
        listener.id()
    );
    ensure!(ends_with(&said, &line), "no {line}: {said:?}");
    Socket::new(TCP4)?.connect(at(HOST4, 8080, 0))?;
    Ok(())
}

/// The processes of a threaded cgroup cannot be listed. The policy is in force nevertheless.
fn unlisted(hook: &Hook, container: &Container) -> Result<()> {
    let threads = container.cgroup.child("threads")?;
    fs::write(threads.path().join("cgroup.type"), "threaded")?;
    let said = hook.notices(&threads, V4)?;
    ensure!(
        said.iter().any(|line| line.contains("cannot be listed")),
        "{said:?}"
    );
    threads.assert_attached(V4)?;
    // The cgroup above lists them.
    hook.detach(&threads)?;
    let _server = server(container, TCP4, HOST4)?;
    assert_says(hook, &container.cgroup, V4, &["restart the program"])
}

/// A server in the container, at port 8080.
fn server(container: &Container, kind: Kind, address: IpAddr) -> Result<Socket> {
    let server = container.init.socket(kind)?;
    server.bind(at(address, 8080, 0))?;
    if kind.tcp {
        server.listen()?;
    }
    Ok(server)
}

/// Fails unless the guard drops a datagram for the host's address.
fn assert_dropped(container: &Container, server: &Socket) -> Result<()> {
    let (_, before) = dropped(&container.cgroup)?;
    Socket::new(UDP4)?.send(Some(at(HOST4, 8080, 0)), b"ping")?;
    await_dropped(&container.cgroup, |(_, after)| after > before)?;
    ensure!(!server.has_input()?, "the guard let a datagram in");
    Ok(())
}

fn assert_silent(hook: &Hook, cgroup: &Cgroup, policy: Policy) -> Result<()> {
    assert_says(hook, cgroup, policy, &[])
}

/// Fails unless `attach` says exactly this, of a container or not.
pub fn assert_says(hook: &Hook, cgroup: &Cgroup, policy: Policy, lines: &[&str]) -> Result<()> {
    let said = hook.notices(cgroup, policy)?;
    let is_same = said.len() == lines.len() && lines.iter().all(|line| ends_with(&said, line));
    ensure!(is_same, "under {policy:?} it said {said:?}, not {lines:?}");
    Ok(())
}

fn ends_with(said: &[String], line: &str) -> bool {
    said.iter().any(|said| said.ends_with(line))
}
