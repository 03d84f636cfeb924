//! Connects to a name as programs do, address by address until one works:
//! `named-client NAME PORT` prints the local address.

use std::net::TcpStream;

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().context("give a name")?;
    let port: u16 = arguments.next().context("give a port")?.parse()?;
    let stream =
        TcpStream::connect((name.as_str(), port)).with_context(|| format!("connect to {name}"))?;
    println!("{}", stream.local_addr()?.ip());
    Ok(())
}
