//! Reading with a deadline.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How long an engine may take to write a state and close the pipe: half of the time that
/// the hook has before the engine kills it, so that it can still say why.
const LIMIT: Duration = Duration::from_secs(5);

/// A file whose reads fail once five seconds have passed.
#[derive(Debug)]
pub struct Timed<F> {
    file: F,
    deadline: Instant,
}

impl<F: AsFd> Timed<F> {
    /// Starts the five seconds.
    pub fn new(file: F) -> Self {
        let deadline = Instant::now() + LIMIT;
        Self { file, deadline }
    }
}

impl<F: AsFd> Read for Timed<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => {
                    let seconds = LIMIT.as_secs();
                    let why = format!(
                        "still open after {seconds} s: the runtime must close it \
                         after writing the state"
                    );
                    return Err(io::Error::new(ErrorKind::TimedOut, why));
                }
                Ok(_) => return Ok(rustix::io::read(&self.file, buffer)?),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
