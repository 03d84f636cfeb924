//! The shell completions, in real shells.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/completions");
const NAME: &str = "oci-bind-hook";

/// What is typed after the name, and all that it can become, in a directory with the
/// directories `one.slice` and `two.slice` and the file `other.toml`.
const TYPED: [(&str, &[&str]); 13] = [
    ("st", &["status"]),
    ("create-", &["create-runtime"]),
    ("status --w", &["--watch"]),
    ("attach --c", &["--cgroup", "--config", "--container"]),
    ("create-runtime --d", &["--dry-run"]),
    ("run --multi", &["--multicast"]),
    ("unload --ipv4", &[]),
    ("attach --loopback ", &["auto", "host", "private"]),
    ("run --guard o", &["off", "on"]),
    ("detach --cgroup ", &["one.slice", "two.slice"]),
    ("check --config o", &["one.slice", "other.toml"]),
    ("attach --ipv4 ", &[]),
    ("attach --pid ", &[]),
];

/// An id that begins like that of no other container with a policy.
const CONTAINER: &str = "c0ffee5e1ec7ab1ec0ffee5e1ec7ab1ec0ffee5e1ec7ab1ec0ffee5e1ec7ab1e";

/// Another that begins like it, of a container without a policy.
const EXPOSED: &str = "c0ffd05e1ec7ab1ec0ffee5e1ec7ab1ec0ffee5e1ec7ab1ec0ffee5e1ec7ab1e";

/// The shells: bash, whose readline needs no terminal; zsh, whose editor needs one; fish.
#[derive(Clone, Copy)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let shells = [
        ("bash", Shell::Bash),
        ("zsh", Shell::Zsh),
        ("fish", Shell::Fish),
    ];
    let trials = shells.map(|(name, shell)| {
        let words = harness::trial(format!("{name} completes words"), move || words(shell));
        let containers = harness::trial(format!("{name} completes containers"), move || {
            Net::isolated(move |_| containers(shell))
        });
        [words, containers]
    });
    trials.into_iter().flatten().collect()
}

fn words(shell: Shell) -> Result<()> {
    let directory = tempfile::tempdir()?;
    for name in ["one.slice", "two.slice"] {
        fs::create_dir(directory.path().join(name))?;
    }
    fs::write(directory.path().join("other.toml"), "")?;
    let hook = Hook::new()?;
    for (typed, expected) in TYPED {
        let found = shell.completed(&hook, directory.path(), typed)?;
        ensure!(found == expected, "{typed}: {found:?}");
    }
    Ok(())
}

fn containers(shell: Shell) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let hook = Hook::new()?;
    let parent = Cgroup::new()?;
    let container = Container::with_id(CONTAINER.to_owned(), &parent)?;
    let _exposed = Container::with_id(EXPOSED.to_owned(), &parent)?;
    hook.attach(&container.cgroup, V4)?;
    let found = shell.completed(&hook, directory.path(), "status c0ff")?;
    ensure!(found == [&CONTAINER[..12]], "{found:?}");
    Ok(())
}

impl Shell {
    /// All that the shell completes the last word of the line to, in order, without
    /// descriptions and what it adds for the user to go on: `/` and `=`.
    fn completed(self, hook: &Hook, directory: &Path, typed: &str) -> Result<Vec<String>> {
        let line = format!("{NAME} {typed}");
        let mut found = match self {
            Self::Bash => {
                let mut bash = Command::new("bash");
                inserted(
                    bash.args(["--noprofile", "--norc", "-i"]),
                    hook,
                    directory,
                    BASH,
                    &line,
                )?
            }
            Self::Zsh => {
                // Without the shell's name script(1) starts the user's.
                ensure_there("zsh")?;
                let mut zsh = Command::new("script");
                inserted(
                    zsh.args(["-qec", "zsh -f -i", "/dev/null"]),
                    hook,
                    directory,
                    ZSH,
                    &line,
                )?
            }
            Self::Fish => {
                ensure_there("fish")?;
                let mut fish = Command::new("fish");
                let output = run(
                    fish.args(["--no-config", "-c", FISH, &line]),
                    hook,
                    directory,
                    "",
                )?;
                let words = output.lines().filter_map(|line| line.split('\t').next());
                words.map(str::to_owned).collect()
            }
        };
        for word in &mut found {
            *word = word.trim_end_matches(['/', '=']).to_owned();
        }
        found.sort();
        Ok(found)
    }
}

/// At control-X A bash inserts all completions into the line, and at control-X S it
/// writes the line and empties it.
const BASH: &str = r#"
source "$SCRIPTS/oci-bind-hook.bash"
bind '"\C-xa": insert-completions'
show() { printf '%s\n' "$READLINE_LINE" >line; READLINE_LINE=; }
bind -x '"\C-xs": show'
"#;

/// The same for zsh.
const ZSH: &str = r#"
fpath=($SCRIPTS $fpath)
autoload -Uz compinit && compinit -u -D
insert-all() { compstate[insert]=all compstate[list]= }
all() { comppostfuncs=(insert-all); zle complete-word }
show() { print -r -- "$BUFFER" >line; BUFFER= }
zle -N all
zle -N show
bindkey '^Xa' all '^Xs' show
"#;

/// fish can be asked.
const FISH: &str = r#"source "$SCRIPTS/oci-bind-hook.fish"; complete --do-complete "$argv""#;

/// The words that a shell with this set-up inserts for the last one of the line.
fn inserted(
    shell: &mut Command,
    hook: &Hook,
    directory: &Path,
    set_up: &str,
    line: &str,
) -> Result<Vec<String>> {
    let place = tempfile::tempdir()?;
    let script = place.path().join("set-up");
    fs::write(&script, set_up)?;
    let keys = format!("source {}\r{line}\u{18}a\u{18}sexit\r", script.display());
    let said = run(shell, hook, directory, &keys)?;
    let written = directory.join("line");
    let after = fs::read_to_string(&written).with_context(|| said)?;
    fs::remove_file(written)?;
    if after.trim_end() == line.trim_end() {
        return Ok(Vec::new());
    }
    let last = line.rfind(' ').map_or(0, |space| space + 1);
    let words = after.get(last..).context("the line is another one")?;
    Ok(words.split_whitespace().map(str::to_owned).collect())
}

/// Runs the shell in the directory, with the hook that is tested in its path.
fn run(shell: &mut Command, hook: &Hook, directory: &Path, keys: &str) -> Result<String> {
    let mut path = hook
        .binary()
        .parent()
        .context("a directory")?
        .as_os_str()
        .to_owned();
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    shell
        .current_dir(directory)
        .envs([
            ("SCRIPTS", SCRIPTS),
            ("TERM", "dumb"),
            ("LC_ALL", "C.UTF-8"),
        ])
        .env("HOME", directory)
        .env("HISTFILE", "/dev/null")
        .env("PATH", path);
    let output = process::run(shell, keys.as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    Ok(output.stdout + &output.stderr)
}

fn ensure_there(shell: &str) -> Result<()> {
    match Command::new(shell).args(["-c", "true"]).status() {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(harness::skip(format!(
            "there is no {shell}: tests/setup.sh test installs it"
        ))),
        started => started.map(drop).with_context(|| format!("start {shell}")),
    }
}
