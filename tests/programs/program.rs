//! What the tables say of a program, and what follows from it.

use std::net::IpAddr;

use anyhow::Result;
use oci_bind_hook_tests::hook::Policy;
use oci_bind_hook_tests::net::{
    CIP4, CIP6, HOST4, HOST6, LOOP4, LOOP6, OTHER4, OTHER6, require_dual,
};

use crate::tool::Tool;

/// A server and its client. In commands and files `{dir}` stands for a scratch
/// directory; in commands of clients `{host}` for the server's address, and
/// `{at}` for the same as URLs have it, and `{patience}` for how many seconds to wait
/// for an answer, of those that hear of no refusal.
#[derive(Debug)]
pub struct Program {
    /// Its name, and what is special.
    pub name: &'static str,
    /// What must be installed.
    pub needs: &'static [Tool],
    /// The policies it is tried under.
    pub policies: &'static [Policy],
    /// Where it listens by itself.
    pub binds: Binds,
    /// Names and contents of files in the scratch directory.
    pub files: &'static [(&'static str, &'static str)],
    /// What to run before, in the scratch directory.
    pub prepare: &'static [&'static [&'static str]],
    /// The server.
    pub server: &'static [&'static str],
    /// A client: asks the server, and says something that holds `answer`.
    pub client: &'static [&'static str],
    /// Another client, which is not tried where nobody should answer.
    pub caller: Option<&'static [&'static str]>,
    /// What holds only an answer of the server.
    pub answer: &'static str,
    /// How the answer or the server's log tells the address of a client, `{}`.
    pub seen: &'static [&'static str],
    /// How they tell the address at which the server was called, `{}`, if they do.
    pub own: Option<&'static str>,
    /// What its log says once more when it is ready for the next client, of one
    /// that takes them one by one and refuses others meanwhile.
    pub ready: Option<&'static str>,
}

/// Where a server listens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binds {
    /// 0.0.0.0
    Any4,
    /// 0.0.0.0, for datagrams, and answers leave from the host's address or
    /// loopback, wherever it was asked: clients drop them elsewhere.
    Any4ButAnswersFromHost,
    /// `::`, for both families.
    Any6,
    /// `::`, for datagrams of both families; over IPv4 answers leave as those do,
    /// and over IPv6 from the client's own address, if the host has that too.
    Any6Datagrams,
    /// `::`, for IPv6 alone.
    Only6,
    /// 0.0.0.0, and `::` for IPv6 alone.
    Both,
    /// 127.0.0.1 and `::1`
    Loopback,
}

/// Of one family: the host's address, the container's, another container's,
/// and loopback.
struct Family {
    host: IpAddr,
    own: IpAddr,
    other: IpAddr,
    localhost: IpAddr,
}

const IPV4: Family = Family {
    host: HOST4,
    own: CIP4,
    other: OTHER4,
    localhost: LOOP4,
};
const IPV6: Family = Family {
    host: HOST6,
    own: CIP6,
    other: OTHER6,
    localhost: LOOP6,
};

/// What a client reaches, and the addresses it may be seen from: outside of
/// the container and inside.
pub struct Call {
    /// The server's address.
    pub to: IpAddr,
    /// A client's address, outside.
    pub outside: IpAddr,
    /// A client's address, inside.
    pub inside: IpAddr,
}

impl Binds {
    /// Skips the trial if no such server answers at both addresses of `policy`.
    pub fn require(self, policy: Policy) -> Result<()> {
        if self.is_dual() && policy.ipv4.is_some() && policy.ipv6.is_some() {
            require_dual()?;
        }
        Ok(())
    }

    /// Where it is reached without a policy.
    pub fn reached(self) -> Vec<IpAddr> {
        let all = |family: &Family| [family.host, family.own, family.other, family.localhost];
        match self {
            Self::Any4 => all(&IPV4).to_vec(),
            Self::Any4ButAnswersFromHost => vec![HOST4, LOOP4],
            Self::Any6Datagrams => [vec![HOST4, LOOP4], all(&IPV6).to_vec()].concat(),
            Self::Only6 => all(&IPV6).to_vec(),
            Self::Any6 | Self::Both => [all(&IPV4), all(&IPV6)].concat(),
            Self::Loopback => vec![LOOP4, LOOP6],
        }
    }

    /// Where it is reached under `policy`.
    pub fn reached_under(self, policy: Policy) -> Vec<IpAddr> {
        match self {
            Self::Loopback => self.reached(),
            _ => self.families(policy).map(|family| family.own).collect(),
        }
    }

    /// What localhost is to a program that is tried under `policy`. A client
    /// that goes for `::1` finds a server of both families at IPv4 too.
    pub fn localhosts(self, policy: Policy) -> Vec<IpAddr> {
        match self {
            Self::Loopback => self.reached(),
            _ if self.is_dual() && policy.ipv6.is_none() => vec![LOOP4, LOOP6],
            _ => self
                .families(policy)
                .map(|family| family.localhost)
                .collect(),
        }
    }

    /// Calls to a server outside, which is on the wildcard.
    pub fn calls(self, policy: Policy) -> Vec<Call> {
        match self {
            Self::Loopback => Vec::new(),
            _ => self
                .families(policy)
                .filter(|family| self != Self::Any6Datagrams || family.own.is_ipv4())
                .map(|family| Call {
                    to: family.host,
                    outside: family.host,
                    inside: family.own,
                })
                .collect(),
        }
    }

    fn is_dual(self) -> bool {
        matches!(self, Self::Any6 | Self::Any6Datagrams)
    }

    fn families(self, policy: Policy) -> impl Iterator<Item = &'static Family> {
        let v4 = policy.ipv4.is_some() && self != Self::Only6;
        let v6 =
            policy.ipv6.is_some() && (self.is_dual() || matches!(self, Self::Only6 | Self::Both));
        [(v4, &IPV4), (v6, &IPV6)]
            .into_iter()
            .filter_map(|(is_assigned, family)| is_assigned.then_some(family))
    }
}
