//! Command lines that are accepted, and those that are not.

use super::*;
use crate::input::config;
use clap::CommandFactory as _;
use clap::error::ErrorKind;

#[test]
fn is_consistent() {
    Cli::command().debug_assert();
}

fn error(line: &str) -> ErrorKind {
    Cli::try_parse_from(line.split(' '))
        .expect_err("a bad command line")
        .kind()
}

#[test]
fn a_policy_needs_an_address() {
    assert_eq!(
        error("x run --loopback host -- true"),
        ErrorKind::MissingRequiredArgument
    );
}

#[test]
fn a_target_is_one_of_three() {
    assert_eq!(error("x detach"), ErrorKind::MissingRequiredArgument);
    assert_eq!(
        error("x detach --pid 1 --cgroup /a"),
        ErrorKind::ArgumentConflict
    );
    assert_eq!(
        error("x detach --container 5f2a --cgroup /a"),
        ErrorKind::ArgumentConflict
    );
    assert_eq!(error("x detach --pid -1"), ErrorKind::UnknownArgument);
    assert_eq!(error("x detach --pid 0"), ErrorKind::ValueValidation);
}

#[test]
fn an_unknown_option_is_taken_for_the_likelier_one() {
    for line in ["x run --ip 192.0.2.1 -- true", "x attach --ip 192.0.2.1"] {
        let error = Cli::try_parse_from(line.split(' ')).expect_err("a bad command line");
        let text = error.to_string();
        assert!(text.contains("similar argument exists: '--ipv4'"), "{text}");
    }
}

#[test]
fn help_has_the_usual_configuration_and_the_defaults() {
    let defaults = config::parse("", "no file")
        .expect("the built-in one")
        .defaults;
    let mut command = Cli::command();
    command.build();
    for name in ["run", "attach"] {
        let help = command.find_subcommand_mut(name).expect("a command");
        let help = help.render_long_help().to_string();
        let help: Vec<_> = help.split_whitespace().collect();
        let help = help.join(" ");
        for text in [
            format!("[default: {}, if it exists]", config::PATH),
            format!(
                "loopback is {} and the guard is {}",
                defaults.loopback, defaults.guard
            ),
            format!("[default: as configured, otherwise {}]", defaults.loopback),
            format!("[default: as configured, otherwise {}]", defaults.guard),
        ] {
            assert!(help.contains(&text), "{text}: {help}");
        }
    }
}

#[test]
fn both_addresses_may_be_given() {
    let cli =
        Cli::try_parse_from("x run --ipv4 192.0.2.1 --ipv6 2001:db8::1 -- true --ipv4".split(' '))
            .expect("a good command line");
    let Command::Run { policy, command } = cli.command else {
        panic!("not run");
    };
    assert!(policy.ipv4.is_some() && policy.ipv6.is_some());
    assert_eq!(command, ["true", "--ipv4"]);
}
