//! Command lines that are not understood, and commands of no kind.

use oci_bind_hook_tests::process;

use crate::row::{Area, BAD_COMMAND_LINE, Row};

pub const AREA: Area = Area {
    title: "Command line",
    status: BAD_COMMAND_LINE,
    rows: &[
        Row {
            cause: "The command does not exist.",
            message: "error: unrecognized subcommand 'stop'",
            remedy: "`oci-bind-hook --help` lists the commands.",
            test: |scene| scene.say("stop", &[]),
        },
        Row {
            cause: "The option does not exist.",
            message: "error: unexpected argument '--force' found",
            remedy: "The command's `--help` lists its options.",
            test: |scene| scene.say("load", &["--force"]),
        },
        Row {
            cause: "`run` is given a command without `--` before it.",
            message: "error: unexpected argument 'python3' found tip: to run 'python3', write '--' \
                before it: '-- python3'",
            remedy: "Write `--` between the options and the command.",
            test: |scene| scene.say("run", &["--ipv4", "192.0.2.10", "python3"]),
        },
        Row {
            cause: "The option is misspelt.",
            message: "error: unexpected argument '--ip' found tip: a similar argument exists: '--ipv4'",
            remedy: "Write the option that is suggested.",
            test: |scene| scene.say("attach", &["--ip", "192.0.2.10", "--pid", "1"]),
        },
        Row {
            cause: "No address is given.",
            message: "error: the following required arguments were not provided: <--ipv4 \
                <ADDRESS>|--ipv6 <ADDRESS>>",
            remedy: "Give `--ipv4`, `--ipv6` or both.",
            test: |scene| scene.say("run", &["--guard", "on", "--", "true"]),
        },
        Row {
            cause: "The address is malformed, or not one that a socket can have.",
            message: "error: invalid value '192.0.2' for '--ipv4 <ADDRESS>': \"192.0.2\" is not an \
                IPv4 address: write one unicast address such as 192.0.2.10",
            remedy: "See [Annotations](#annotations) for what else is refused, and why.",
            test: |scene| scene.say("run", &["--ipv4", "192.0.2", "--", "true"]),
        },
        Row {
            cause: "No command is given.",
            message: "error: the following required arguments were not provided: <COMMAND>...",
            remedy: "Write the command after `--`.",
            test: |scene| scene.say("run", &["--ipv4", "192.0.2.10"]),
        },
        Row {
            cause: "No cgroup is named.",
            message: "error: the following required arguments were not provided: <--pid \
                <PID>|--cgroup <PATH>|--container <ID>>",
            remedy: "Name the cgroup by its path, by a process in it, or by its container.",
            test: |scene| scene.say("detach", &[]),
        },
        Row {
            cause: "Two cgroups are named.",
            message: "error: the argument '--pid <PID>' cannot be used with '--cgroup <PATH>'",
            remedy: "Name only one.",
            test: |scene| scene.say("detach", &["--pid", "1", "--cgroup", "/web"]),
        },
        Row {
            cause: "The process id is not a number above 0.",
            message: "error: invalid value 'web' for '--pid <PID>': write a process id, a number \
                above 0",
            remedy: "Write the number that `ps` shows, as the host sees it.",
            test: |scene| scene.say("detach", &["--pid", "web"]),
        },
        Row {
            cause: "`status` is given two options that exclude each other.",
            message: "error: the argument '--json' cannot be used with '--watch'",
            remedy: "Call `status --json` repeatedly, or watch the table.",
            test: |scene| scene.say("status", &["--json", "--watch"]),
        },
        Row {
            cause: "An option has no value.",
            message: "error: a value is required for '--config <FILE>' but none was supplied",
            remedy: "Write the value after the option.",
            test: |scene| {
                let mut command = std::process::Command::new(scene.hook.binary());
                process::run(command.arg("--config"), b"")
            },
        },
    ],
};
