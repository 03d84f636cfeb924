//! What goes to and fro. Both sockets are connected to each other.

use std::os::fd::AsFd as _;
use std::time::Instant;

use anyhow::{Result, ensure};
use oci_bind_hook_tests::socket::Socket;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// A kind of traffic.
pub struct Traffic {
    pub name: &'static str,
    pub unit: &'static str,
    pub tcp: bool,
    /// How much of it goes through in a second.
    pub run: fn(&[Socket; 2]) -> Result<f64>,
}

pub const KINDS: &[Traffic] = &[
    Traffic {
        name: "bulk TCP",
        unit: "MB/s",
        tcp: true,
        run: bulk,
    },
    Traffic {
        name: "TCP request and response",
        unit: "1/s",
        tcp: true,
        run: request,
    },
    Traffic {
        name: "UDP, 64 bytes",
        unit: "1/s",
        tcp: false,
        run: datagrams,
    },
];

/// The rates of each pair of sockets, batch by batch in turn.
pub fn rates<const SIDES: usize>(
    kind: &Traffic,
    pairs: &[[Socket; 2]],
    batches: usize,
) -> Result<[Vec<f64>; SIDES]> {
    let mut rates = [const { Vec::new() }; SIDES];
    for batch in 0..batches {
        // Who comes after whom makes a difference.
        for turn in 0..SIDES {
            let side = (batch + turn) % SIDES;
            rates[side].push((kind.run)(&pairs[side])?);
        }
    }
    Ok(rates)
}

/// What is written at once: it fits into the socket's buffers.
const CHUNK: usize = 64 * 1024;
const CHUNKS: u32 = 60;
const REQUESTS: u32 = 150;
/// Datagrams that go one way before they are read.
const WINDOW: u32 = 32;
const WINDOWS: u32 = 15;

fn bulk([one, other]: &[Socket; 2]) -> Result<f64> {
    let (chunk, mut buffer) = (vec![0; CHUNK], vec![0; CHUNK]);
    let start = Instant::now();
    for _ in 0..CHUNKS {
        pass(one, other, &chunk, &mut buffer)?;
    }
    let megabytes = f64::from(CHUNKS) * f64::from(u32::try_from(CHUNK)?) / 1e6;
    Ok(megabytes / start.elapsed().as_secs_f64())
}

fn request([one, other]: &[Socket; 2]) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..REQUESTS {
        pass(one, other, b"?", &mut [0])?;
        pass(other, one, b"!", &mut [0])?;
    }
    Ok(f64::from(REQUESTS) / start.elapsed().as_secs_f64())
}

fn datagrams([one, other]: &[Socket; 2]) -> Result<f64> {
    let (payload, mut buffer) = ([0; 64], [0; 64]);
    let start = Instant::now();
    for _ in 0..WINDOWS {
        for _ in 0..WINDOW {
            send(one.as_fd(), &payload, SendFlags::empty())?;
        }
        for _ in 0..WINDOW {
            take(other, payload.len(), &mut buffer)?;
        }
    }
    Ok(f64::from(WINDOW * WINDOWS) / start.elapsed().as_secs_f64())
}

/// Sends all of it and reads it at the other end.
fn pass(from: &Socket, to: &Socket, payload: &[u8], buffer: &mut [u8]) -> Result<()> {
    let mut sent = 0;
    while sent < payload.len() {
        let bytes = send(from.as_fd(), &payload[sent..], SendFlags::empty())?;
        take(to, bytes, buffer)?;
        sent += bytes;
    }
    Ok(())
}

/// Reads so many bytes.
fn take(from: &Socket, mut bytes: usize, buffer: &mut [u8]) -> Result<()> {
    while bytes > 0 {
        let (got, _) = recv(from.as_fd(), &mut *buffer, RecvFlags::empty())?;
        ensure!(got > 0, "the other end is closed");
        bytes -= got;
    }
    Ok(())
}
