//! How a row of the acceptance list becomes trials.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bpf::deny_errno;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4, V6};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::socket::{self, Kind, Outcome, Socket};
use rustix::io::Errno;
use rustix::net::{self, Protocol, SocketFlags, SocketType};

/// Policies with an IPv4 address.
pub const WITH4: &[Policy] = &[V4, BOTH];
/// Policies with an IPv6 address.
pub const WITH6: &[Policy] = &[V6, BOTH];
/// Policies without an IPv4 address.
pub const WITHOUT4: &[Policy] = &[V6];
/// Policies without an IPv6 address.
pub const WITHOUT6: &[Policy] = &[V4];
/// Policies with both.
pub const WITH_BOTH: &[Policy] = &[BOTH];
/// All policies.
pub const ANY_POLICY: &[Policy] = &[V4, V6, BOTH];

/// A trial and the row of the acceptance list that it belongs to.
pub struct Row {
    pub id: &'static str,
    pub trial: Trial,
}

impl Row {
    /// A trial that does not come from a line; its name begins with the row.
    pub fn alone(
        id: &'static str,
        name: String,
        test: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Self {
        let trial = harness::trial(name, test);
        Self { id, trial }
    }
}

/// What a trial that does not come from a line is made of: a program in a cgroup that has
/// no policy yet.
pub struct Scene {
    pub net: Net,
    pub hook: Hook,
    /// The program in the cgroup.
    pub agent: Rc<Agent>,
    pub cgroup: Cgroup,
}

impl Scene {
    /// The trial with the name `id what`.
    pub fn row(
        id: &'static str,
        what: &str,
        test: impl FnOnce(&Self) -> Result<()> + Send + 'static,
    ) -> Row {
        Row::alone(id, format!("{id} {what}"), move || {
            Net::isolated(move |net| {
                let cgroup = Cgroup::new()?;
                test(&Self {
                    net,
                    hook: Hook::new()?,
                    agent: Rc::new(Agent::new(&cgroup)?),
                    cgroup,
                })
            })
        })
    }

    /// Puts a policy on the cgroup.
    pub fn attach(&self, policy: Policy) -> Result<()> {
        self.hook.attach(&self.cgroup, policy)
    }

    /// The program in the cgroup.
    pub fn inside(&self) -> Site {
        Site {
            net: self.net,
            agent: Some(Rc::clone(&self.agent)),
        }
    }
}

/// A program under observation, given by where its sockets come from.
pub struct Site {
    net: Net,
    /// The program in the cgroup; `None` for one outside.
    agent: Option<Rc<Agent>>,
}

impl Site {
    /// A socket of the program.
    pub fn socket(&self, kind: Kind) -> Result<Socket> {
        match &self.agent {
            Some(agent) => agent.socket(kind),
            None => Socket::new(kind),
        }
    }

    /// A program outside of the cgroup.
    pub fn outside(&self) -> Self {
        Self {
            net: self.net,
            agent: None,
        }
    }

    /// A socket of the program with any protocol number, which is used as if it were of
    /// `kind`. Skips the trial if the kernel has no such protocol.
    pub fn open(&self, kind: Kind, socket_type: SocketType, protocol: u32) -> Result<Socket> {
        match self.make(kind, socket_type, protocol)? {
            Ok(fd) => Socket::unusual(fd, kind),
            Err(Errno::PROTONOSUPPORT | Errno::NOPROTOOPT | Errno::AFNOSUPPORT) => {
                Err(harness::skip(format!("no protocol {protocol} here")))
            }
            Err(errno) => Err(errno).with_context(|| format!("make a socket of {protocol}")),
        }
    }

    /// The outcome of socket(2) with any protocol number.
    pub fn make(
        &self,
        kind: Kind,
        socket_type: SocketType,
        protocol: u32,
    ) -> Result<Outcome<OwnedFd>> {
        let (family, _) = kind.arguments();
        match &self.agent {
            Some(agent) => agent.open(family, socket_type, protocol),
            None => {
                let protocol = NonZero::new(protocol).map(Protocol::from_raw);
                let flags = SocketFlags::CLOEXEC;
                Ok(net::socket_with(family, socket_type, flags, protocol))
            }
        }
    }

    /// The network namespace.
    pub fn net(&self) -> Net {
        self.net
    }

    /// An address with a port, and with the interface where it needs one.
    pub fn at(&self, address: IpAddr, port: u16) -> SocketAddr {
        socket::at(address, port, self.net.link())
    }
}

/// The trials of one line: under each of `policies`, `observe` sees `inside`
/// in the cgroup, and `plain` both outside of it and after `detach`.
pub fn row<T, F>(
    id: &'static str,
    what: &str,
    policies: &[Policy],
    observe: F,
    inside: T,
    plain: T,
) -> Vec<Row>
where
    T: PartialEq + Debug + Clone + Send + 'static,
    F: Fn(&Site) -> Result<T> + Clone + Send + 'static,
{
    policies
        .iter()
        .map(|&policy| {
            let (observe, inside, plain) = (observe.clone(), inside.clone(), plain.clone());
            let name = format!("{id} {what} [{policy:?}]");
            let trial = harness::trial(name, move || {
                Net::isolated(move |net| compare(net, policy, observe, &inside, &plain))
            });
            Row { id, trial }
        })
        .collect()
}

/// The errno of a refused call, as this kernel can show it.
pub fn denied<T>(errno: Errno) -> Outcome<T> {
    Err(deny_errno(errno))
}

fn compare<T: PartialEq + Debug>(
    net: Net,
    policy: Policy,
    observe: impl Fn(&Site) -> Result<T>,
    inside: &T,
    plain: &T,
) -> Result<()> {
    let cgroup = Cgroup::new()?;
    let agent = Some(Rc::new(Agent::new(&cgroup)?));
    let inner = Site { net, agent };
    let outer = Site { net, agent: None };
    let hook = Hook::new()?;
    let mut wrong = Vec::new();
    let mut check = |place, site: &Site, expected: &T| {
        match observe(site) {
            Ok(seen) if seen == *expected => {}
            Ok(seen) => wrong.push(format!("{place}: saw {seen:?}, not {expected:?}")),
            Err(error) if harness::is_skip(&error) => return Err(error),
            Err(error) => wrong.push(format!("{place}: {error:#}")),
        }
        Ok(())
    };

    hook.attach(&cgroup, policy)?;
    check("in the cgroup", &inner, inside)?;
    check("outside", &outer, plain)?;
    hook.detach(&cgroup)?;
    check("after detach", &inner, plain)?;
    cgroup.assert_bare().context("after detach")?;

    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}
