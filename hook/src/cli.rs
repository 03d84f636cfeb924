//! The command line.

mod advice;
#[cfg(test)]
mod tests;
mod values;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueHint};
use rustix::process::Pid;
use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use self::values::words;
use crate::input::request::{
    self, AllowLoopback, ExemptPorts, Guard, Loopback, MulticastPorts, PortMappings, Request,
};

/// Gives a container, or any cgroup, exactly one of this host's IP addresses.
///
/// Servers that bind to the wildcard address get the assigned address instead, and
/// clients connect and send from it: TCP and UDP, IPv4 and IPv6, without changes to
/// the program.
#[derive(Debug, Parser)]
#[command(name = "oci-bind-hook", version, max_term_width = 100)]
pub struct Cli {
    /// Configuration file, which must exist [default: /etc/oci-bind-hook/config.toml, if it exists]
    ///
    /// Without a file, any address of the host may be assigned, loopback is auto and the guard
    /// is on.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        help_heading = "Global options"
    )]
    pub config: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Parses the command line of this process. Exits if it is rejected, or asks for help.
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| advice::add(error).exit())
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The OCI hook: reads the container's state from standard input
    CreateRuntime {
        /// Print what would be done, as JSON, without attaching anything
        #[arg(long)]
        dry_run: bool,
    },
    /// Run a command in a new cgroup under a policy
    ///
    /// Forwards signals to the command and exits with its status: 128+N if signal N
    /// ended it, 125 if it could not be started. When the command ends, the processes
    /// that it left running are killed and the cgroup is removed.
    ///
    /// The cgroup is created below the caller's own. If another user could move the
    /// command out of there, as below user@.service, it is created further up, in
    /// the nearest cgroup that only root can change; limits that are set in between
    /// then do not apply.
    Run {
        /// The command's policy.
        #[command(flatten)]
        policy: PolicyOptions,
        /// The command and its arguments
        #[arg(
            last = true,
            required = true,
            value_name = "COMMAND",
            value_hint = ValueHint::CommandWithArguments,
        )]
        command: Vec<OsString>,
    },
    /// Put a policy on an existing cgroup, or replace its policy
    ///
    /// Sockets that are already bound or connected keep their address: those that can be
    /// called and would be elsewhere now are named on standard error, and so is the policy
    /// that was replaced. The policy also holds in the cgroups below.
    Attach {
        /// Which cgroup.
        #[command(flatten)]
        target: Target,
        /// Its policy.
        #[command(flatten)]
        policy: PolicyOptions,
    },
    /// Take the policy off a cgroup
    ///
    /// Sockets that are already bound keep their address, and are reached there, until their
    /// programs are restarted.
    Detach {
        /// Which cgroup.
        #[command(flatten)]
        target: Target,
    },
    /// Show every cgroup under a policy on this host, and what was decided there
    Status {
        /// Show only this container or cgroup, in detail: a container's id, its first
        /// characters, the name of a systemd unit, or the path of a cgroup, as for attach
        container: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Refresh every two seconds, until interrupted
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Load and pin the programs before the first container starts
    ///
    /// Also attaches them to network devices that a policy needs and that were added
    /// after a container started; udev does this for each new device of the host.
    ///
    /// Loading takes memory for a moment, 25 MiB on Linux 6.18: a limit on its cgroup should
    /// be at least 48 MiB. About 2 MiB stay, charged to that cgroup: oci-bind-hook.service
    /// loads at boot, so that no container or engine is charged.
    Load {
        /// Handle only this network device; do nothing if no programs are pinned
        #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
        device: Option<String>,
    },
    /// Remove the pinned programs that no cgroup uses
    Unload,
    /// Print a CDI specification that injects the hook, for Docker and containerd
    ///
    /// Write it to /etc/cdi/oci-bind-hook.json, and start containers with the
    /// device oci-bind-hook.io/policy=annotations in addition to their annotations.
    Cdi,
    /// Check this host, and say how to fix what doesn't work
    ///
    /// Each line has a level (ok, note, unknown or problem), what was checked, and
    /// what was found; a remedy follows on its own line. The programs are tried in a
    /// cgroup and namespaces that are removed afterwards. Run it as root: others
    /// cannot see everything, and what they cannot see is unknown.
    ///
    /// The exit status is 1 if there is a problem (a container would start without
    /// its policy, or not at all), or if something is unknown.
    ///
    /// With --json: {"problems": NUMBER, "unknown": NUMBER, "notes": NUMBER,
    /// "findings": [{"level": "ok"|"note"|"unknown"|"problem", "subject": STRING,
    /// "message": STRING, "remedy": STRING or null}]}
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try the programs in an empty cgroup, and print what was found
    #[command(hide = true)]
    Probe {
        /// The cgroup
        cgroup: PathBuf,
    },
    /// End the processes of a cgroup and remove it when standard input ends
    #[command(hide = true)]
    EndRun {
        /// The cgroup
        cgroup: PathBuf,
    },
}

/// Which cgroup.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// The cgroup of the container that this process is in
    ///
    /// The container's cgroup is recognised by the name that its engine gave it; it
    /// also holds the processes that start in the container later. If no cgroup has
    /// such a name, the process's own cgroup is used.
    #[arg(long, value_name = "PID", value_parser = parse_pid, value_hint = ValueHint::Other)]
    pub pid: Option<Pid>,
    /// The cgroup: a directory below the cgroup2 mount, or a path within the
    /// hierarchy such as /system.slice/web.service
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub cgroup: Option<PathBuf>,
    /// The cgroup of the running container with this id, or whose id begins with it
    ///
    /// It is recognised as with --pid. attach looks for the addresses in the container's
    /// network namespace.
    #[arg(long, value_name = "ID", value_hint = ValueHint::Other)]
    pub container: Option<String>,
}

/// A policy; each option corresponds to an annotation.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("address").args(["ipv4", "ipv6"]).required(true).multiple(true))]
#[command(next_help_heading = "Policy")]
pub struct PolicyOptions {
    /// The IPv6 address to use
    #[arg(long, value_name = "ADDRESS", value_parser = parse_ipv6, value_hint = ValueHint::Other)]
    pub ipv6: Option<Ipv6Addr>,
    // After `ipv6`: of options that are equally close to an unknown one, such as `--ip`, clap
    // suggests the last.
    /// The IPv4 address to use
    #[arg(
        long,
        value_name = "ADDRESS",
        value_parser = parse_ipv4,
        display_order = 0,
        value_hint = ValueHint::Other,
    )]
    pub ipv4: Option<Ipv4Addr>,
    /// What loopback means: auto, host, private or an address in 127.0.0.0/8
    /// [default: as configured, otherwise auto]
    #[arg(
        long,
        value_name = "POLICY",
        value_parser = words::<Loopback>(&["auto", "host", "private"]),
        hide_possible_values = true,
    )]
    pub loopback: Option<Loopback>,
    /// Ports to move, ASKED:ACTUAL[/tcp|/udp],..., each a port or FIRST-LAST
    #[arg(long, value_name = "LIST", value_hint = ValueHint::Other)]
    pub ports: Option<PortMappings>,
    /// Ports to leave alone, PORT[/tcp|/udp],..., each a port or FIRST-LAST
    #[arg(long, value_name = "LIST", value_hint = ValueHint::Other)]
    pub exempt: Option<ExemptPorts>,
    /// UDP ports for multicast and broadcast, PORT,..., each a port or FIRST-LAST
    #[arg(long, value_name = "LIST", value_hint = ValueHint::Other)]
    pub multicast: Option<MulticastPorts>,
    /// Drop packets whose local address is not the assigned one: on or off
    /// [default: as configured, otherwise on]
    #[arg(
        long,
        value_name = "on|off",
        value_parser = words::<Guard>(&["on", "off"]),
        hide_possible_values = true,
    )]
    pub guard: Option<Guard>,
}

impl From<PolicyOptions> for Request {
    fn from(policy: PolicyOptions) -> Self {
        Self {
            ipv4: policy.ipv4,
            ipv6: policy.ipv6,
            loopback: policy.loopback,
            ports: policy.ports,
            exempt: policy.exempt,
            multicast: policy.multicast,
            guard: policy.guard,
        }
    }
}

fn parse_ipv4(value: &str) -> anyhow::Result<Ipv4Addr> {
    request::parse_ipv4(value, AllowLoopback::Yes)
}

fn parse_ipv6(value: &str) -> anyhow::Result<Ipv6Addr> {
    request::parse_ipv6(value, AllowLoopback::Yes)
}

fn parse_pid(value: &str) -> Result<Pid, String> {
    value
        .parse()
        .ok()
        .filter(|&pid| pid > 0)
        .and_then(Pid::from_raw)
        .ok_or_else(|| "write a process id, a number above 0".to_owned())
}
