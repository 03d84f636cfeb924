//! Times calls of its own for `benches/calls`: one line on standard input says
//! which and how many (`connect udp4 192.0.2.1:9 100`), the answer is how many
//! nanoseconds one took. The calls go through the C library, where a library
//! that is loaded before it can catch them.
//!
//! `caller notify` has bind, connect and sendto wait for an agent
//! (seccomp_unotify(2)) that lets them go on.

mod calls;
mod notify;

use std::io::{BufRead as _, Write as _};

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    if std::env::args().nth(1).is_some_and(|it| it == "notify") {
        notify::start()?;
    }
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let mut next = || words.next().with_context(|| format!("understand {line:?}"));
        let (call, kind) = (next()?, next()?);
        let (address, count) = (next()?.parse()?, next()?.parse()?);
        let nanoseconds = calls::time(call, kind, address, count).context(line.clone())?;
        writeln!(output, "{nanoseconds}")?;
        output.flush()?;
    }
    Ok(())
}
