//! What a host does to packets below all sockets: rules of nftables, and tunnels
//! of IPsec.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::harness::skip;
use crate::net::ip;
use crate::process;

/// Adds rules in the network namespace of the calling thread. Skips the trial where
/// the kernel has no nftables.
pub fn nft(rules: &str) -> Result<()> {
    let run = |input: &str| {
        process::run(Command::new("nft").args(["-f", "-"]), input.as_bytes())
            .context("run `nft` (is the package nftables installed?)")
    };
    if !run("table inet probe { chain probe { type nat hook output priority 0; }; }")?
        .status
        .success()
    {
        return Err(skip("this kernel has no nftables with NAT"));
    }
    let output = run(rules)?;
    ensure!(
        output.status.success(),
        "nft: {}\nof {rules}",
        output.stderr.trim()
    );
    Ok(())
}

/// One end of a tunnel between two hosts.
#[derive(Clone, Copy)]
pub struct Tunnel<'a> {
    /// The hosts' addresses: the own one first.
    pub ends: [&'a str; 2],
    /// What is behind them, likewise.
    pub networks: [&'a str; 2],
}

impl Tunnel<'_> {
    /// Sets it up in the network namespace of the calling thread: ESP without
    /// encryption. Skips the trial where the kernel has no such thing.
    pub fn set_up(self) -> Result<()> {
        let xfrm = |arguments: &[&str]| ip(&[&["xfrm"], arguments].concat(), "");
        let Self {
            ends: [own, other],
            networks: [near, far],
        } = self;
        for (from, to) in [(own, other), (other, own)] {
            #[rustfmt::skip]
            let state = [
                "state", "add", "src", from, "dst", to, "proto", "esp", "spi", "0x100",
                "mode", "tunnel", "enc", "ecb(cipher_null)", "",
            ];
            if let Err(error) = xfrm(&state) {
                return Err(skip(format!("this kernel has no ESP: {error}")));
            }
        }
        for (direction, [source, destination], [from, to]) in [
            ("out", [near, far], [own, other]),
            ("in", [far, near], [other, own]),
            ("fwd", [far, near], [other, own]),
        ] {
            #[rustfmt::skip]
            xfrm(&[
                "policy", "add", "src", source, "dst", destination, "dir", direction,
                "tmpl", "src", from, "dst", to, "proto", "esp", "mode", "tunnel",
            ])?;
        }
        Ok(())
    }
}
