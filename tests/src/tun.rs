//! A tunnel that a program keeps up, as VPNs do: a device in each of two network
//! namespaces, of packets without frames, which the test carries from one to the other.
#![expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper")]

use std::fs::File;
use std::io::{Error, PipeWriter, Read as _, Result, Write as _};
use std::os::fd::AsRawFd as _;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

const DEVICE: &str = "/dev/net/tun";
/// `TUNSETIFF`, linux/if_tun.h
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;

/// One end of it: the device is there as long as this lives.
#[derive(Debug)]
pub struct End(File);

/// Makes a device of this name, in the network namespace of the calling thread.
pub fn open(name: &str) -> Result<End> {
    let file = File::options().read(true).write(true).open(DEVICE)?;
    // SAFETY: all zero is a valid value of this plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags =
        i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).map_err(Error::other)?;
    // SAFETY: the kernel reads and writes the struct, which outlives the call.
    match unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) } {
        0 => Ok(End(file)),
        _ => Err(Error::last_os_error()),
    }
}

/// Carries packets between two ends until it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    carrier: Option<JoinHandle<()>>,
    stop: Option<PipeWriter>,
}

impl Tunnel {
    /// Between these.
    pub fn between(ends: [End; 2]) -> Result<Self> {
        let (stopped, stop) = std::io::pipe()?;
        let carrier = std::thread::spawn(move || {
            let [one, other] = ends.each_ref().map(|end| &end.0);
            let mut packet = [0; 1 << 16];
            loop {
                let mut fds = [one, other]
                    .map(|end| PollFd::new(end, PollFlags::IN))
                    .to_vec();
                fds.push(PollFd::new(&stopped, PollFlags::IN));
                if retry_on_intr(|| poll(&mut fds, None)).is_err() || !fds[2].revents().is_empty() {
                    return;
                }
                for (fd, mut from, mut to) in [(&fds[0], one, other), (&fds[1], other, one)] {
                    if fd.revents().contains(PollFlags::IN)
                        && let Ok(length) = from.read(&mut packet)
                    {
                        // A packet that the other side does not take is lost, as anywhere.
                        let _ = to.write(&packet[..length]);
                    }
                }
            }
        });
        Ok(Self {
            carrier: Some(carrier),
            stop: Some(stop),
        })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(carrier) = self.carrier.take() {
            let _ = carrier.join();
        }
    }
}
