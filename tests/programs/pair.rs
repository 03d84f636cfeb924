//! A server and its client, each under a policy and each without.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, Policy};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::Output;
use oci_bind_hook_tests::reach::PROBED;
use tempfile::TempDir;

use crate::program::Program;
use crate::server::{Server, named};
use crate::tool;

/// How many seconds a client waits where it is to be answered, and where it is not.
const ANSWER: &str = "30";
const SILENCE: &str = "2";

/// The trials of one program.
pub fn trials(program: &'static Program) -> Vec<Trial> {
    let trial = |&policy: &Policy| {
        harness::trial(format!("{} ({policy:?})", program.name), move || {
            tool::require(program.needs)?;
            program.binds.require(policy)?;
            Net::isolated(|_| Pair::new(program, policy)?.check())
        })
    };
    program.policies.iter().map(trial).collect()
}

/// A program under a policy, with a scratch directory.
pub struct Pair {
    program: &'static Program,
    policy: Policy,
    hook: Hook,
    dir: TempDir,
}

impl Pair {
    /// Prepares it, and starts nothing.
    pub fn new(program: &'static Program, policy: Policy) -> Result<Self> {
        let dir = TempDir::new().context("make a scratch directory")?;
        for (name, text) in program.files {
            let text = text.replace("{dir}", &dir.path().display().to_string());
            fs::write(dir.path().join(name), text)?;
        }
        for command in program.prepare {
            let mut command = tool::plain(&tool::words(command, dir.path(), None));
            command.current_dir(dir.path());
            let output = tool::finish(command)?;
            ensure!(output.status.success(), "prepare: {output:?}");
        }
        Ok(Self {
            program,
            policy,
            hook: tool::hook()?,
            dir,
        })
    }

    fn check(&self) -> Result<()> {
        let server = Server::plain(&self.words(), self.path())?;
        explain(&server, self.check_plain(&server)).context("without a policy")?;
        server.end()?;

        let server = self.start()?;
        explain(&server, self.check_contained(&server)).context("under `run`")?;
        server.end()
    }

    /// The server, under the policy.
    pub fn start(&self) -> Result<Server> {
        Server::contained(&self.hook, self.policy, &self.words(), self.path())
    }

    /// Without a policy the server is reached everywhere, and so is a peer of
    /// clients under one.
    fn check_plain(&self, server: &Server) -> Result<()> {
        self.assert_reached(server, &self.program.binds.reached())?;
        for call in self.program.binds.calls(self.policy) {
            let words = self.caller(call.to);
            let seen = self.ask(server, &[call.to], tool::plain(&words))?;
            ensure!(
                seen.as_deref() == Some(&[call.outside]),
                "a client is seen from {seen:?}"
            );
            let client = tool::run_under(&self.hook, self.policy, &words);
            let seen = self.ask(server, &[call.to], client)?;
            ensure!(
                seen.as_deref() == Some(&[call.inside]),
                "a client under `run` is seen from {seen:?}"
            );
        }
        Ok(())
    }

    fn check_contained(&self, server: &Server) -> Result<()> {
        let binds = self.program.binds;
        let reached = binds.reached_under(self.policy);
        self.assert_reached(server, &reached)?;
        for &host in &reached {
            let answer = self.ask(server, &[host], tool::plain(&self.caller(host)))?;
            ensure!(answer.is_some(), "no answer at {host}");
        }
        for host in binds.localhosts(self.policy) {
            for words in [self.client(host, ANSWER), self.caller(host)] {
                let answer = self.ask(server, &reached, server.exec(&tool::plain(&words))?)?;
                ensure!(answer.is_some(), "it does not reach itself at {host}");
            }
        }
        Ok(())
    }

    /// Waits until the server answers at `host`.
    pub fn await_answer(&self, server: &Server, host: IpAddr) -> Result<()> {
        server
            .wait_for(|| self.ask(server, &[host], tool::plain(&self.client(host, ANSWER))))
            .with_context(|| format!("reach it at {host}"))?;
        Ok(())
    }

    /// Fails unless the server, once it is ready, is reached at exactly these
    /// addresses.
    pub fn assert_reached(&self, server: &Server, expected: &[IpAddr]) -> Result<()> {
        let &first = expected.first().context("nowhere to reach it")?;
        self.await_answer(server, first)?;
        let mut reached = Vec::new();
        for address in PROBED {
            let patience = if expected.contains(&address) {
                ANSWER
            } else {
                SILENCE
            };
            let client = tool::plain(&self.client(address, patience));
            if self.ask(server, &[address], client)?.is_some() {
                reached.push(address);
            }
        }
        ensure!(
            reached == expected,
            "it is reached at {reached:?}, not at {expected:?}"
        );
        Ok(())
    }

    /// From which addresses the server sees this client, if it answers. If it
    /// tells its own address, that must be one of `places`.
    ///
    /// Servers write their log when they like: whoever asks waits for what it
    /// leaves there, so that the next one does not find it.
    fn ask(
        &self,
        server: &Server,
        places: &[IpAddr],
        client: Command,
    ) -> Result<Option<Vec<IpAddr>>> {
        let before = server.log()?.len();
        let output = tool::finish(client)?;
        if !self.is_answer(&output)? {
            return Ok(None);
        }
        let told = server.wait_for(|| {
            let text = format!("{}{}", output.stdout, &server.log()?[before..]);
            let by_pattern = |&pattern: &&str| named(&text, pattern, &PROBED);
            let mut seen: Vec<_> = self.program.seen.iter().map(by_pattern).collect();
            let own = self.program.own.as_ref().map(by_pattern);
            let is_complete = seen.iter().chain(&own).all(|found| !found.is_empty())
                && self.program.ready.is_none_or(|ready| text.contains(ready));
            seen.dedup();
            Ok(is_complete.then(|| (seen.concat(), own)))
        });
        let (seen, own) =
            told.with_context(|| format!("find out where a client was seen from: {output:?}"))?;
        ensure!(
            own.iter().flatten().all(|own| places.contains(own)),
            "it finds itself at {own:?}, not at {places:?}"
        );
        Ok(Some(seen))
    }

    fn is_answer(&self, output: &Output) -> Result<bool> {
        if !output.status.success() || output.stdout.is_empty() {
            return Ok(false);
        }
        ensure!(
            output.stdout.contains(self.program.answer),
            "that is no answer: {output:?}"
        );
        Ok(true)
    }

    fn words(&self) -> Vec<String> {
        tool::words(self.program.server, self.path(), None)
    }

    fn client(&self, host: IpAddr, patience: &str) -> Vec<String> {
        self.call(self.program.client, host, patience)
    }

    fn caller(&self, host: IpAddr) -> Vec<String> {
        let command = self.program.caller.unwrap_or(self.program.client);
        self.call(command, host, ANSWER)
    }

    fn call(&self, command: &[&str], host: IpAddr, patience: &str) -> Vec<String> {
        let words = tool::words(command, self.path(), Some(host));
        let fill = |word: &String| word.replace("{patience}", patience);
        words.iter().map(fill).collect()
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Adds to an error what the server has said.
pub fn explain<T>(server: &Server, result: Result<T>) -> Result<T> {
    result.map_err(|error| {
        let log = server.log().unwrap_or_default();
        error.context(format!("the server says {log:?}"))
    })
}
