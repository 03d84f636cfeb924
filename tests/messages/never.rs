//! Texts in the sources that no test can bring about.

use std::path::Path;

/// A text, and why it is not seen.
#[derive(Debug)]
pub struct Unseen {
    /// The file, or the directory for all in it.
    file: &'static str,
    /// The text, or its beginning.
    pub text: &'static str,
    /// Why.
    pub reason: &'static str,
}

impl Unseen {
    /// Whether this is about that text.
    pub fn is_about(&self, file: &Path, text: &str) -> bool {
        file.starts_with(self.file) && text.starts_with(self.text)
    }
}

const fn unseen(file: &'static str, text: &'static str, reason: &'static str) -> Unseen {
    Unseen { file, text, reason }
}

const BUILD: &str = "The embedded object is not the one that was built with the program.";
const KERNEL: &str = "The kernel refuses what it always grants.";
const REPLY: &str = "The kernel's list of addresses is not as rtnetlink(7) has it.";
const RACE: &str = "It went away between two steps that nothing comes between.";
const CHECKED: &str = "What is read before has refused it already.";

/// Messages of broken kernels and of mistakes in the program.
pub const NEVER: &[Unseen] = &[
    unseen("loader.rs", "the eBPF object has no program", BUILD),
    unseen(
        "verify.rs",
        "program {name} of the eBPF object is of an unknown type",
        BUILD,
    ),
    unseen("loader.rs", "the eBPF object has no map", BUILD),
    unseen(
        "loader.rs",
        "pin map {name} at {}",
        "The programs have just been pinned beside it.",
    ),
    unseen(
        "loader.rs",
        "move the pins to {}",
        "They have just been made beside it.",
    ),
    unseen("programs.rs", "open the programs just pinned", RACE),
    unseen("programs.rs", "ask for the id of program {}", KERNEL),
    unseen("status.rs", "ask for the ids of the programs", KERNEL),
    unseen("status.rs", "ask for the size of a map's values", KERNEL),
    unseen("attach.rs", "detach {} from cgroup {}", KERNEL),
    unseen("bpffs.rs", "lock {DIRECTORY}", KERNEL),
    unseen("bpffs.rs", "lock {MOUNT_POINT}", KERNEL),
    unseen("bpffs.rs", "look at {DIRECTORY}", KERNEL),
    unseen("bpffs.rs", "stat {DIRECTORY}", KERNEL),
    unseen("attach.rs", "clear the policy of cgroup {}", KERNEL),
    unseen(
        "cgroup.rs",
        "cgroup {name} is not in a cgroup2 file system",
        CHECKED,
    ),
    unseen(
        "namespace.rs",
        "start a thread",
        "There is no memory for one more thread.",
    ),
    unseen(
        "namespace.rs",
        "the thread that entered it panicked",
        "A bug: report it.",
    ),
    unseen("namespace.rs", "make a socket, to ask", KERNEL),
    unseen(
        "namespace.rs",
        "ask for the network namespace's cookie",
        KERNEL,
    ),
    unseen(
        "namespace.rs",
        "open {own}",
        "It was there to look at the addresses.",
    ),
    unseen("loader.rs", "load program steer", BUILD),
    unseen("serve.rs", "ask for the id of a map", KERNEL),
    unseen("serve.rs", "attach the iterator", KERNEL),
    unseen("serve.rs", "start the iterator", KERNEL),
    unseen("serve.rs", "read from the iterator", KERNEL),
    unseen("serve.rs", "make a pair of sockets", KERNEL),
    unseen(
        "serve.rs",
        "put a socket into {}",
        "A kernel that has the iterator, and is older than Linux 5.15.",
    ),
    unseen("serve.rs", "make a watch", KERNEL),
    unseen("serve.rs", "watch {directory}", KERNEL),
    unseen("serve.rs", "wait for UDP servers", KERNEL),
    unseen("serve.rs", "read what has changed", KERNEL),
    unseen("programs.rs", "look for servers in {}", KERNEL),
    unseen(
        "addresses/dump.rs",
        "list addresses: malformed reply",
        REPLY,
    ),
    unseen(
        "addresses/dump.rs",
        "list addresses: a reply of {length} bytes",
        REPLY,
    ),
    unseen("addresses/dump.rs", "list addresses over netlink", KERNEL),
    unseen(
        "addresses/dump.rs",
        "ask for addresses over netlink",
        KERNEL,
    ),
    unseen("addresses/dump.rs", "read addresses over netlink", KERNEL),
    unseen(
        "addresses/dump.rs",
        "list addresses: they changed {TRIES} times",
        "Addresses come and go without a pause.",
    ),
    unseen(
        "run/signals.rs",
        "catch signals",
        "There were more descriptors a moment ago.",
    ),
    unseen("run/signals.rs", "wait for the command", KERNEL),
    unseen("run/cgroup.rs", "lock cgroup {}", KERNEL),
    unseen("run/cgroup.rs", "wait for the end of cgroup {}", KERNEL),
    unseen("run/mod.rs", "wait for the end of the cgroup", KERNEL),
    unseen("run/mod.rs", "no command", CHECKED),
    unseen("commands/attach.rs", "no cgroup is named", CHECKED),
    unseen("policy.rs", "no address to assign", CHECKED),
    unseen(
        "config/file.rs",
        "find the directory of",
        "There is a root directory.",
    ),
    unseen("config/file.rs", "read link {}", RACE),
    unseen(
        "config.rs",
        "{BUILT_IN_ORIGIN} lacks {key}",
        "A bug: report it.",
    ),
];

const FINDING: &str = "what check finds is no failure of the command: tests/check has it";
const LOGGED: &str = "a line of the log: tests/input/logging.rs reads those";
const SERVERS: &str = "a line of the log: tests/lifecycle/dual.rs reads it";
const ALONE: &str = "a debug line: tests/faults/limits.rs has what comes of it";
const ITERATOR: &str = "a debug line: what comes of it is said by serve";
const SERVED: &str = "a line of the log: tests/lifecycle/serve.rs reads it";
const SYNTAX: &str = "what is looked for in other programs' text";

/// Texts that are no messages, and that nobody reads.
pub const NOT_SAID: &[Unseen] = &[
    unseen("check", "", FINDING),
    unseen(
        "commands/status/watch.rs",
        "",
        "it changes all the time: tests/lifecycle/watch.rs reads it",
    ),
    unseen("run/mod.rs", "cgroup {name} uses {plan}, to run {}", LOGGED),
    unseen("attach.rs", "detached {} from cgroup {}", LOGGED),
    unseen("dual.rs", "both need Linux 5.14", SERVERS),
    unseen("loader.rs", "no UDP server can answer at both", ITERATOR),
    unseen(
        "verify.rs",
        "the kernel tells nothing of its types",
        ITERATOR,
    ),
    unseen("threads.rs", "cannot start another thread", ALONE),
    unseen("serve.rs", "serves UDP servers at ::", SERVED),
    unseen("serve.rs", "does not serve {}", SERVED),
    unseen(
        "serve.rs",
        "a UDP server at :: answers at its IPv4",
        "a line of the log, for want of memory",
    ),
    unseen("dual.rs", "a server at :: answers at the IPv6", SERVERS),
    unseen("dual.rs", "steers calls in network namespace", SERVERS),
    unseen(
        "cgroup.rs",
        "its own, since none above is named after the container",
        LOGGED,
    ),
    unseen(
        "commands/create_runtime.rs",
        "nothing to do: no annotation asks for an address in this container",
        LOGGED,
    ),
    unseen("commands/check.rs", "", FINDING),
    unseen(
        "btf.rs",
        "",
        "the loader does without the type information, and says nothing",
    ),
    unseen(
        "state.rs",
        "an object of strings",
        "oci-spec refuses that first",
    ),
    unseen("verify.rs", "verification time", SYNTAX),
    unseen("run/cgroup.rs", "populated 1", SYNTAX),
    unseen(
        "run/cgroup.rs",
        "the loop has no end",
        "why code cannot be reached",
    ),
    unseen(
        "policy.rs",
        "a plan has no more ports than a policy",
        "why code cannot be reached",
    ),
    unseen("policy.rs", "no address", "there is no such plan"),
    unseen(
        "config.rs",
        "built-in configuration",
        "where an error of it would be",
    ),
];
