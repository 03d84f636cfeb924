//! What others pay at a network device for UDP sockets of both families: the program
//! `deliver` sees every packet there. The same traffic of sockets without a policy, in
//! a namespace without the program and in others with it, by tcx and by clsact, batch
//! by batch in turn. `no program` shows how far the method can be off.

#[path = "packets/traffic.rs"]
mod traffic;

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bench::in_namespace;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, Hook};
use oci_bind_hook_tests::net::{HOST4, HOST6, PEER4, PEER6, ip};
use oci_bind_hook_tests::results::Results;
use oci_bind_hook_tests::socket::{Kind, Socket};
use oci_bind_hook_tests::{host, process};

use traffic::{KINDS, Traffic, rates};

const BATCHES: usize = 300;
/// A namespace with the host's addresses and a container's, and a pair of devices.
const HERE: &str = "\
link set lo up
link set inner up
addr add 192.0.2.1/32 dev inner
addr add 192.0.2.10/32 dev inner
addr add 2001:db8::1/128 dev inner nodad
addr add 2001:db8::10/128 dev inner nodad
route add 198.51.100.0/24 dev inner src 192.0.2.1
route add 2001:db8:100::/64 dev inner src 2001:db8::1
";
const PEER: &str = "\
link set lo up
link add outer type veth peer name inner netns PID
link set outer up
addr add 198.51.100.100/32 dev outer
addr add 2001:db8:100::64/128 dev outer nodad
route add 192.0.2.0/24 dev outer src 198.51.100.100
route add 2001:db8::/64 dev outer src 2001:db8:100::64
";

/// How the program is attached.
#[derive(Clone, Copy)]
enum By {
    Nothing,
    Tcx,
    Clsact,
}

const SIDES: [(&str, By); 4] = [
    ("plain", By::Nothing),
    ("no program", By::Nothing),
    ("tcx", By::Tcx),
    ("clsact", By::Clsact),
];

/// Two namespaces, and who makes sockets there.
struct Site {
    here: Agent,
    peer: Agent,
    _cgroups: [Cgroup; 2],
}

impl Site {
    fn new(by: By) -> Result<Self> {
        in_namespace(|| {
            let cgroups = [Cgroup::new()?, Cgroup::new()?];
            let here = Agent::new(&cgroups[0])?;
            let peer = in_namespace(|| {
                ip(
                    &["-batch", "-"],
                    &PEER.replace("PID", &here.id().to_string()),
                )?;
                Agent::new(&cgroups[0])
            })?;
            ip(&["-batch", "-"], HERE)?;
            match by {
                By::Nothing => {}
                By::Tcx => Hook::new()?.attach(&cgroups[1], BOTH)?,
                By::Clsact => clsact()?,
            }
            Ok(Self {
                here,
                peer,
                _cgroups: cgroups,
            })
        })
    }

    /// Two sockets that are connected to each other: a client, here or at the other end
    /// of the devices, and a server here.
    fn pair(&self, is_local: bool, tcp: bool, v6: bool) -> Result<[Socket; 2]> {
        let (client, from) = match (is_local, v6) {
            (true, false) => (&self.here, HOST4),
            (true, true) => (&self.here, HOST6),
            (false, false) => (&self.peer, PEER4),
            (false, true) => (&self.peer, PEER6),
        };
        let to: IpAddr = if v6 { HOST6 } else { HOST4 };
        let kind = Kind::of(tcp, to);
        let (client, server) = (client.socket(kind)?, self.here.socket(kind)?);
        client.bind(SocketAddr::new(from, 0))?;
        server.bind(SocketAddr::new(to, 0))?;
        if !tcp {
            client.connect(server.local()?)?;
            server.connect(client.local()?)?;
            return Ok([client, server]);
        }
        server.listen()?;
        client.connect(server.local()?)?;
        let accepted = server.accept()?;
        for socket in [&client, &accepted] {
            socket.set(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        }
        Ok([client, accepted])
    }
}

/// Attaches the pinned program as Linux before 6.6 has it.
fn clsact() -> Result<()> {
    Hook::new()?.load()?;
    let pins = host::pins()?;
    let program = pins.first().context("nothing is pinned")?.join("deliver");
    for device in ["lo", "inner"] {
        let filter = format!("filter add dev {device} ingress bpf da object-pinned");
        for (words, last) in [
            (format!("qdisc add dev {device} clsact"), None),
            (filter, Some(&program)),
        ] {
            let mut tc = Command::new("tc");
            tc.args(words.split(' ')).args(last);
            let output = process::run(&mut tc, b"").context("run `tc`")?;
            ensure!(output.status.success(), "tc {words}: {output:?}");
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    host::set_up()?;
    let sites = SIDES.map(|(_, by)| Site::new(by));
    let sites = sites.into_iter().collect::<Result<Vec<_>>>()?;
    let mut results = Results::new(
        "deliver",
        "Traffic of others where the program is, against where it is not: the more the better",
    );
    for (path, is_local) in [("lo", true), ("veth", false)] {
        for (family, v6) in [("IPv4", false), ("IPv6", true)] {
            for kind in KINDS {
                let pairs = sites.iter().map(|site| site.pair(is_local, kind.tcp, v6));
                let pairs = pairs.collect::<Result<Vec<_>>>()?;
                measure(&mut results, &format!("{path}, {family}"), kind, &pairs)?;
            }
        }
    }
    results.finish()
}

fn measure(results: &mut Results, what: &str, kind: &Traffic, pairs: &[[Socket; 2]]) -> Result<()> {
    let [plain, others @ ..] = &rates::<{ SIDES.len() }>(kind, pairs, BATCHES)?;
    for ((name, _), rates) in SIDES[1..].iter().zip(others) {
        let side = format!("{what}, {name}");
        results.pairs(&side, kind.name, kind.unit, [plain, rates], None);
    }
    Ok(())
}
