//! The man pages and shell completions in `packaging`, which come from the
//! command line's definition.
//!
//! `MANUAL=write cargo test --package oci-bind-hook --test manual` writes them;
//! otherwise a test fails where they differ.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgGroup, Command, CommandFactory as _, Id};
use clap_complete::Shell;
use clap_mangen::Man;
use oci_bind_hook::cli::Cli;

const NAME: &str = "oci-bind-hook";
/// What clap_complete's script for bash calls a command where it completes its arguments,
/// and where it finds out which one is meant: each way for the dashes of the name.
const APART: &str = "oci__subcmd__bind__subcmd__hook";
const TOGETHER: &str = "oci__bind__hook";
/// Prints the ids of the containers under a policy, as the table of `status` shows them. The
/// list below it, of those without one, begins with a line that ends the search.
const CONTAINERS: &str =
    r#"oci-bind-hook status 2>/dev/null | sed -n "/^on /q;s/^\([0-9a-f]\{12\}\).*/\1/p""#;
/// The sections that the definition does not give.
const SECTIONS: &str = include_str!("../../packaging/man/sections.roff");
/// Those of `attach`.
const ATTACH: &str = include_str!("../../packaging/man/attach.roff");
/// Those of `status`.
const STATUS: &str = include_str!("../../packaging/man/status.roff");

#[test]
fn manual_and_completions_are_those_of_the_command_line() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    let mut stale = Vec::new();
    for (path, text) in pages().into_iter().chain(completions()) {
        let path = packaging.join(path);
        if env::var_os("MANUAL").is_some_and(|value| value == "write") {
            fs::write(&path, text).expect("write a file of packaging");
        } else if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            stale.push(path);
        }
    }
    assert!(
        stale.is_empty(),
        "differ from the command line: {stale:?}: \
         run MANUAL=write cargo test --package oci-bind-hook --test manual"
    );
}

/// The command line without what is not for users.
fn command() -> Command {
    let all = Cli::command();
    let shown = all.get_subcommands().filter(|sub| !sub.is_hide_set());
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about(all.get_about().cloned().unwrap_or_default())
        .long_about(all.get_long_about().cloned().unwrap_or_default())
        .disable_help_subcommand(true)
        .args(all.get_arguments().cloned())
        .subcommands(shown.cloned())
}

/// One page for the program, and one for each command.
fn pages() -> Vec<(PathBuf, String)> {
    let mut command = command();
    command.build();
    let mut pages = vec![page(command.clone(), NAME.to_owned(), SECTIONS)];
    for sub in command.get_subcommands() {
        let name = format!("{NAME}-{}", sub.get_name());
        let see_also = format!(".SH SEE ALSO\n\\fB{}\\fR(8)\n", NAME.replace('-', "\\-"));
        let sections = match sub.get_name() {
            "attach" => ATTACH,
            "status" => STATUS,
            _ => "",
        };
        pages.push(page(sub.clone(), name, &format!("{sections}{see_also}")));
    }
    pages
}

fn page(command: Command, name: String, sections: &str) -> (PathBuf, String) {
    let file = Path::new("man").join(format!("{name}.8"));
    let synopsis = synopsis(&command);
    let man = Man::new(command.display_name(&name))
        .title(name.to_uppercase())
        .section("8")
        .source(format!("{NAME} {}", env!("CARGO_PKG_VERSION")))
        .manual("System Administration");
    let mut text = Vec::new();
    man.render_title(&mut text).expect("render");
    man.render_name_section(&mut text).expect("render");
    text.extend(synopsis.into_bytes());
    man.render_description_section(&mut text).expect("render");
    man.render_options_section(&mut text).expect("render");
    if name == NAME {
        man.render_subcommands_section(&mut text).expect("render");
    }
    let text = String::from_utf8(text).expect("a page in UTF-8");
    (file, text + sections)
}

/// The synopsis, with what clap_mangen leaves out: values, groups of which one is required,
/// and `--`.
fn synopsis(command: &Command) -> String {
    let groups = command.get_groups().filter(|group| group.is_required_set());
    let groups: Vec<_> = groups.cloned().collect();
    let mut parts = vec![bold(command.get_bin_name().unwrap_or(NAME))];
    for mut group in groups.clone() {
        let named = |id: &Id| command.get_arguments().find(|arg| arg.get_id() == id);
        let choices: Vec<_> = group.get_args().filter_map(named).map(option).collect();
        let repeated = if group.is_multiple() { "..." } else { "" };
        parts.push(format!("{{{}}}{repeated}", choices.join(" | ")));
    }
    let options = command.get_arguments().filter(|arg| {
        let is_choice = |group: &ArgGroup| group.get_args().any(|id| id == arg.get_id());
        let is_ours = matches!(arg.get_action(), ArgAction::Set | ArgAction::SetTrue);
        is_ours && !arg.is_positional() && !groups.iter().any(is_choice)
    });
    parts.extend(options.map(|arg| format!("[{}]", option(arg))));
    for arg in command.get_positionals() {
        let value = values(arg);
        parts.push(match arg.is_last_set() {
            true => format!("{} {value}...", bold("--")),
            false => format!("[{value}]"),
        });
    }
    if command.has_subcommands() {
        parts.push("\\fICOMMAND\\fR".to_owned());
    }
    format!(".SH SYNOPSIS\n{}\n", parts.join(" "))
}

fn option(arg: &Arg) -> String {
    let name = bold(&format!("--{}", arg.get_long().expect("a long option")));
    match arg.get_action().takes_values() {
        true => format!("{name} {}", values(arg)),
        false => name,
    }
}

fn values(arg: &Arg) -> String {
    let names = arg.get_value_names().expect("names of values");
    format!("\\fI{}\\fR", names.join(" "))
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", text.replace('-', "\\-"))
}

fn completions() -> Vec<(PathBuf, String)> {
    [Shell::Bash, Shell::Zsh, Shell::Fish]
        .into_iter()
        .map(|shell| {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command(), NAME, &mut text);
            let file = match shell {
                Shell::Zsh => format!("_{NAME}"),
                _ => format!("{NAME}.{shell}"),
            };
            let text = String::from_utf8(text).expect("completions in UTF-8");
            let text = with_containers(shell, &text.replace(APART, TOGETHER));
            (Path::new("completions").join(file), text)
        })
        .collect()
}

/// The same with the argument of `status`, which clap_complete cannot complete: the ids of
/// containers, beside cgroups.
fn with_containers(shell: Shell, text: &str) -> String {
    let replaced = |from: &str, to: &str| {
        assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
        text.replace(from, to)
    };
    match shell {
        Shell::Bash => {
            let words = "subcmd__status)\n            opts=\"";
            replaced(words, &format!("{words}$({CONTAINERS}) "))
        }
        // The only argument without a hint.
        Shell::Zsh => replaced(
            ":_default'",
            &format!(":{{compadd - $({CONTAINERS}); _files -/}}'"),
        ),
        _ => format!(
            "{text}complete -c {NAME} -n \"__fish_oci_bind_hook_using_subcommand status\" \
             -a '({CONTAINERS})'\n"
        ),
    }
}
