//! Clients that have no server of their own: who they are to a peer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4, V6};
use oci_bind_hook_tests::net::{ANY6, CIP4, CIP6, HOST4, HOST6, Net, PEER4, PEER6};
use oci_bind_hook_tests::process::PATIENCE;
use rustix::net::sockopt;
use tempfile::TempDir;

use crate::echo::Echoes;
use crate::http::{NGINX, NGINX_CONF, NGINX_SERVER};
use crate::server::Server;
use crate::tool::{self, Tool};

const CURL: &[Tool] = &[("curl", "curl"), ("util-linux", "unshare")];
const PING: &[Tool] = &[("iputils-ping", "ping")];

/// How curl comes to the addresses of a name that has one of each family:
/// from its command line, or from a hosts file in a namespace of its own.
const CURL_WAYS: &[(&str, &[&str])] = &[
    (
        "a list of addresses",
        &[
            "curl",
            "-sSm",
            "30",
            "--resolve",
            "x.test:80:[2001:db8:100::64],198.51.100.100",
            "http://x.test/",
        ],
    ),
    (
        "getaddrinfo",
        &[
            "unshare",
            "--mount",
            "sh",
            "-c",
            "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"",
            "curl",
            "-sSm",
            "30",
            "http://x.test/",
        ],
    ),
];
const HOSTS: &str = "2001:db8:100::64 x.test\n198.51.100.100 x.test\n";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for &(way, command) in CURL_WAYS {
        for (policy, seen) in [(V4, &[CIP4][..]), (V6, &[CIP6]), (BOTH, &[CIP4, CIP6])] {
            let name = format!("curl to a name with both families, from {way} ({policy:?})");
            trials.push(trial(name, CURL, move |hook| {
                curl(hook, command, policy, seen)
            }));
        }
    }
    trials.push(trial("nginx as a proxy".to_owned(), NGINX, proxy));
    for (own, host, peer) in [(CIP4, HOST4, PEER4), (CIP6, HOST6, PEER6)] {
        let family = if own.is_ipv4() { "IPv4" } else { "IPv6" };
        trials.push(trial(format!("ping -I over {family}"), PING, move |hook| {
            let echoes = Echoes::listen(own)?;
            let ping = words(&[
                "ping",
                "-c1",
                "-W30",
                "-I",
                &own.to_string(),
                &peer.to_string(),
            ]);
            finish(tool::run_under(hook, BOTH, &ping))?;
            let seen = echoes.sources()?;
            ensure!(seen == [own], "it is seen from {seen:?}");
            Ok(())
        }));
        trials.push(trial(format!("ping over {family}"), PING, move |hook| {
            let echoes = Echoes::listen(own)?;
            let ping = |patience| words(&["ping", "-c1", "-W", patience, &peer.to_string()]);
            finish(tool::plain(&ping("30")))?;
            let seen = echoes.sources()?;
            ensure!(seen == [host], "without a policy it is seen from {seen:?}");
            // It leaves from the assigned address or is dropped.
            tool::finish(tool::run_under(hook, BOTH, &ping("1")))?;
            let seen = echoes.sources()?;
            ensure!(
                seen.is_empty() || seen == [own],
                "under `run` it is seen from {seen:?}"
            );
            Ok(())
        }));
    }
    trials
}

fn trial(
    name: String,
    needs: &'static [Tool],
    test: impl FnOnce(&Hook) -> Result<()> + Send + 'static,
) -> Trial {
    harness::trial(name, move || {
        tool::require(needs)?;
        Net::isolated(|_| test(&tool::hook()?))
    })
}

/// Without a policy curl is seen from the host's address, and under `policy`
/// from one of `expected`.
fn curl(hook: &Hook, command: &[&str], policy: Policy, expected: &[IpAddr]) -> Result<()> {
    let dir = TempDir::new().context("make a scratch directory")?;
    fs::write(dir.path().join("hosts"), HOSTS)?;
    // It takes connections of both families.
    let listener = TcpListener::bind(SocketAddr::new(ANY6, 80)).context("listen")?;
    // accept(2) goes by it too.
    sockopt::set_socket_timeout(&listener, sockopt::Timeout::Recv, Some(PATIENCE))?;
    let command = words(command);
    let seen = answer_one(&listener, dir.path(), tool::plain(&command))?;
    ensure!(
        [HOST4, HOST6].contains(&seen),
        "without a policy it is seen from {seen}"
    );
    let seen = answer_one(
        &listener,
        dir.path(),
        tool::run_under(hook, policy, &command),
    )?;
    ensure!(
        expected.contains(&seen),
        "under `run` it is seen from {seen}"
    );
    Ok(())
}

/// What a server calls on behalf of its clients sees it at its own address.
fn proxy(hook: &Hook) -> Result<()> {
    let dir = TempDir::new().context("make a scratch directory")?;
    let path = dir.path().display().to_string();
    for (name, text) in [NGINX_CONF, ("listen", "listen 80;")] {
        fs::write(dir.path().join(name), text.replace("{dir}", &path))?;
    }
    let listener = TcpListener::bind(SocketAddr::new(ANY6, 8081)).context("listen")?;
    sockopt::set_socket_timeout(&listener, sockopt::Timeout::Recv, Some(PATIENCE))?;
    let nginx = tool::words(NGINX_SERVER, dir.path(), None);
    for (is_contained, at) in [(false, HOST4), (true, CIP4)] {
        let server = if is_contained {
            Server::contained(hook, V4, &nginx, dir.path())?
        } else {
            Server::plain(&nginx, dir.path())?
        };
        let page = |page: &str| {
            let url = format!("http://{at}{page}");
            tool::plain(&words(&["curl", "-sSfm", "30", &url]))
        };
        server.wait_for(|| {
            let output = tool::finish(page("/"))?;
            Ok(output.status.success().then_some(()))
        })?;
        let seen = answer_one(&listener, dir.path(), page("/via"))?;
        ensure!(seen == at, "at {at}, it is seen from {seen}");
        server.end()?;
    }
    Ok(())
}

/// Answers the one request that `client` makes: where it came from.
fn answer_one(listener: &TcpListener, dir: &Path, mut client: Command) -> Result<IpAddr> {
    client.current_dir(dir);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| -> Result<IpAddr> {
            let (mut connection, from) = listener.accept()?;
            let mut request = [0; 1024];
            ensure!(connection.read(&mut request)? > 0, "no request");
            connection.write_all(b"HTTP/1.0 200 OK\r\n\r\n")?;
            Ok(from.ip().to_canonical())
        });
        finish(client)?;
        answer.join().ok().context("answer")?
    })
}

fn finish(command: Command) -> Result<()> {
    let output = tool::finish(command)?;
    ensure!(output.status.success(), "it failed: {output:?}");
    Ok(())
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|&word| word.to_owned()).collect()
}
