//! The two ends of the demo and of the engine tests, in one static program:
//!
//! - `echo-server NAME PORT` serves PORT on 0.0.0.0 and on `::`, over TCP and
//!   UDP, and answers whoever calls with its name, its own address and the
//!   caller's;
//! - `echo-client ADDRESS PORT tcp|udp|udp-sendto` calls it and prints the
//!   answer. The program is the client when started under that name.
//!
//! Sockets are made call by call, not by `std`'s constructors: those bind a
//! UDP client before it dials, and the point here is what happens to a client
//! that does not bind.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_ipv6_v6only, set_socket_reuseaddr, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType, bind, connect, listen, socket};

/// How long the client waits for each step of a call. Who is not there refuses it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits before it sends a datagram again: one may be lost, and so may the
/// kernel's word that nobody is there (`icmp_xmit_lock`, `icmp_global_allow`).
const AGAIN: Duration = Duration::from_secs(2);
const QUESTION: &[u8] = b"who is there?\n";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let name = words.first().and_then(|path| Path::new(path).file_name());
    let is_client = name.is_some_and(|name| name == "echo-client");
    match words.get(1..) {
        Some([address, port, call]) if is_client => client(address, port, call),
        Some([name, port]) if !is_client => server(name, port),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: echo-server NAME PORT | echo-client ADDRESS PORT tcp|udp|udp-sendto");
    ExitCode::from(2)
}

/// Binds all four sockets, says of each where it ended up, and serves for ever
/// if every one of them was bound.
fn server(name: &str, port: &str) -> ExitCode {
    let Ok(port) = port.parse::<u16>() else {
        return usage();
    };
    let mut threads = Vec::new();
    let mut complete = true;
    for asked in [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Ipv6Addr::UNSPECIFIED.into(),
    ] {
        for kind in [SocketType::STREAM, SocketType::DGRAM] {
            let protocol = if kind == SocketType::STREAM {
                "tcp"
            } else {
                "udp"
            };
            match serve(name.to_owned(), kind, SocketAddr::new(asked, port)) {
                Ok((bound, thread)) => {
                    println!(
                        "{name} {protocol} {asked} bound {} {}",
                        bound.ip(),
                        bound.port()
                    );
                    threads.push(thread);
                }
                Err(error) => {
                    println!("{name} {protocol} {asked} failed {}", describe(&error));
                    complete = false;
                }
            }
        }
    }
    println!("{name} {}", if complete { "ready" } else { "failed" });
    if !complete {
        return ExitCode::FAILURE;
    }
    for thread in threads {
        if thread.join().is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Binds one socket and starts the thread that answers on it.
fn serve(
    name: String,
    kind: SocketType,
    asked: SocketAddr,
) -> io::Result<(SocketAddr, thread::JoinHandle<()>)> {
    let socket = open(kind, asked)?;
    if asked.is_ipv6() {
        // Side by side with the IPv4 socket, as most servers do it.
        set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::STREAM {
        // Like any server that wants to be restarted while old connections
        // linger. Never for UDP: there it would let two servers share a port.
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &asked)?;
        listen(&socket, 64)?;
        let listener = TcpListener::from(socket);
        let bound = listener.local_addr()?;
        Ok((
            bound,
            thread::spawn(move || answer_connections(&name, &listener)),
        ))
    } else {
        bind(&socket, &asked)?;
        let socket = UdpSocket::from(socket);
        let bound = socket.local_addr()?;
        Ok((
            bound,
            thread::spawn(move || answer_datagrams(&name, &socket)),
        ))
    }
}

fn answer_connections(name: &str, listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // A caller that went away is no reason to stop serving.
        let _ = answer_connection(name, stream);
    }
}

fn answer_connection(name: &str, mut stream: TcpStream) -> io::Result<()> {
    let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
    writeln!(stream, "{name} local={local} peer={peer}")
}

fn answer_datagrams(name: &str, socket: &UdpSocket) {
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let mut request = [0; 64];
    loop {
        // Errors are those of earlier replies (a caller that is gone).
        if let Ok((_, peer)) = socket.recv_from(&mut request) {
            let answer = format!("{name} local={local} peer={peer}\n");
            let _ = socket.send_to(answer.as_bytes(), peer);
        }
    }
}

/// Makes one call and prints the answer, or in one word why there is none.
fn client(address: &str, port: &str, call: &str) -> ExitCode {
    let (Ok(address), Ok(port)) = (address.parse::<IpAddr>(), port.parse::<u16>()) else {
        return usage();
    };
    let server = SocketAddr::new(address, port);
    let answer = match call {
        "tcp" => call_tcp(server),
        "udp" => call_udp(server),
        "udp-sendto" => call_udp_sendto(server),
        _ => return usage(),
    };
    match answer {
        Ok(answer) => {
            println!("{}", answer.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

fn call_tcp(server: SocketAddr) -> io::Result<String> {
    let socket = open_patient(SocketType::STREAM, server)?;
    connect(&socket, &server)?;
    let mut answer = String::new();
    TcpStream::from(socket).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Over a connected socket, which also learns of a refusal.
fn call_udp(server: SocketAddr) -> io::Result<String> {
    let socket = open_patient(SocketType::DGRAM, server)?;
    connect(&socket, &server)?;
    let socket = UdpSocket::from(socket);
    let (answer, _) = ask(&socket, || socket.send(QUESTION))?;
    Ok(answer)
}

/// Over a socket that is neither bound nor connected.
fn call_udp_sendto(server: SocketAddr) -> io::Result<String> {
    let socket = UdpSocket::from(open_patient(SocketType::DGRAM, server)?);
    let (answer, from) = ask(&socket, || socket.send_to(QUESTION, server))?;
    if from != server {
        return Err(io::Error::other(format!("answer from {from}")));
    }
    Ok(answer)
}

/// Asks over UDP until somebody answers, or the kernel says that nobody is there.
fn ask(
    socket: &UdpSocket,
    send: impl Fn() -> io::Result<usize>,
) -> io::Result<(String, SocketAddr)> {
    let start = Instant::now();
    set_socket_timeout(socket, Timeout::Recv, Some(AGAIN))?;
    let mut answer = [0; 256];
    loop {
        send()?;
        match socket.recv_from(&mut answer) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && start.elapsed() < PATIENCE => {}
            received => {
                let (length, from) = received?;
                return Ok((
                    String::from_utf8_lossy(&answer[..length]).into_owned(),
                    from,
                ));
            }
        }
    }
}

/// A fresh socket of the address's family.
fn open(kind: SocketType, address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    Ok(socket(family, kind, None)?)
}

/// The same for the client, which does not wait for ever; the deadline for
/// sending is also that of `connect`.
fn open_patient(kind: SocketType, server: SocketAddr) -> io::Result<OwnedFd> {
    let socket = open(kind, server)?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

/// The errors that a test or a reader of the demo looks for, without numbers.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "address not available".to_owned(),
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "unreachable".to_owned()
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer".to_owned(),
        _ => error.to_string(),
    }
}
