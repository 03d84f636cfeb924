//! Listens at a TCP address until it is killed: `raw-listener HOW ADDRESS`,
//! where HOW is `libc` or `raw`. The latter binds by an instruction of its
//! own, past every library.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, SocketType, listen, socket};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let how = arguments.next().context("say libc or raw")?;
    let address: SocketAddr = arguments.next().context("give an address")?.parse()?;
    let _listener = match how.as_str() {
        "libc" => TcpListener::bind(address)?,
        "raw" => {
            let SocketAddr::V4(address) = address else {
                bail!("only IPv4 is raw");
            };
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
            raw::bind(&socket, address)?;
            listen(&socket, 16)?;
            socket.into()
        }
        _ => bail!("{how} is neither libc nor raw"),
    };
    loop {
        std::thread::park();
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod raw {
    #![expect(unsafe_code, reason = "a system call without a library")]

    use std::arch::asm;
    use std::io;
    use std::net::SocketAddrV4;
    use std::os::fd::{AsFd, AsRawFd};

    /// bind(2)
    pub fn bind(socket: impl AsFd, address: SocketAddrV4) -> io::Result<()> {
        let address = libc::sockaddr_in {
            sin_family: 2,
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from(*address.ip()).to_be(),
            },
            sin_zero: [0; 8],
        };
        let fd = i64::from(socket.as_fd().as_raw_fd());
        let result: i64;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: system call 49 reads 16 bytes at `address` and writes none.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") 49_i64 => result,
                in("rdi") fd,
                in("rsi") &raw const address,
                in("rdx") size_of_val(&address),
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack, readonly)
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: system call 200 reads 16 bytes at `address` and writes none.
        unsafe {
            asm!(
                "svc 0",
                in("x8") 200_i64,
                inlateout("x0") fd => result,
                in("x1") &raw const address,
                in("x2") size_of_val(&address),
                options(nostack, readonly)
            );
        }
        match i32::try_from(result) {
            Ok(0) => Ok(()),
            Ok(errno) => Err(io::Error::from_raw_os_error(-errno)),
            Err(_) => Err(io::ErrorKind::Other.into()),
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod raw {
    /// bind(2), which this architecture has no instruction for here.
    pub fn bind(_: impl Sized, _: std::net::SocketAddrV4) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
