//! Running trials and counting them honestly.

use std::fmt;
use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::container::Container;
use crate::hook::Hook;
use crate::host;
use crate::net::{Net, require_dual};
use crate::process::PATIENCE;

/// Sets up the host and runs the trials that `trials` makes, as told by the
/// command line.
pub fn main(trials: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    run(Arguments::from_args(), trials)
}

/// The same, one trial after the other: for those that count what there is in
/// the kernel.
pub fn main_in_turn(trials: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    run(arguments, trials)
}

/// The same as [`main`], and one more trial once all others are done.
pub fn main_then(
    trials: impl FnOnce() -> Vec<Trial>,
    name: &str,
    last: impl FnOnce() -> Result<()> + Send + 'static,
) -> ExitCode {
    let arguments = Arguments::from_args();
    let status = run(arguments.clone(), trials);
    let last = libtest_mimic::run(&arguments, vec![trial(name, last)]).exit_code();
    if status == ExitCode::SUCCESS {
        last
    } else {
        status
    }
}

fn run(mut arguments: Arguments, trials: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    // Trials wait for their programs and peers half of the time.
    let processors = available_parallelism().map_or(1, NonZero::get);
    arguments.test_threads.get_or_insert(2 * processors);
    if !arguments.list
        && let Err(error) = host::set_up()
    {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    libtest_mimic::run(&arguments, trials()).exit_code()
}

/// Writes a generated document instead of running trials, if the environment
/// has `VARIABLE=write`.
pub fn written(variable: &str, write: impl FnOnce() -> Result<()>) -> Option<ExitCode> {
    std::env::var_os(variable).filter(|what| what == "write")?;
    Some(match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    })
}

/// A trial; an error that [`skip`] made counts as ignored.
pub fn trial(name: impl Into<String>, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match test() {
        Ok(()) => Ok(Completion::Completed),
        Err(error) => match error.downcast_ref::<Skipped>() {
            Some(skipped) => Ok(Completion::ignored_with(&skipped.0)),
            None => Err(Failed::from(format!("{error:#}"))),
        },
    })
}

/// A trial with a container, in a network namespace of its own.
pub fn contained(
    name: impl Into<String>,
    test: impl FnOnce(&Hook, &Container) -> Result<()> + Send + 'static,
) -> Trial {
    trial(name, move || {
        Net::isolated(move |_| test(&Hook::new()?, &Container::new()?))
    })
}

/// A trial in a network namespace and with a bpffs of its own, in which nothing
/// is pinned yet.
pub fn unpinned(
    name: impl Into<String>,
    test: impl FnOnce(&Hook) -> Result<()> + Send + 'static,
) -> Trial {
    trial(name, move || {
        Net::isolated(move |_| {
            host::private_bpffs()?;
            test(&Hook::new()?)
        })
    })
}

/// A trial of [`unpinned_dual`].
pub type HookTest = fn(&Hook) -> Result<()>;

/// The same, named `PREFIX: NAME`, where the kernel can have servers of both families.
pub fn unpinned_dual<const COUNT: usize>(
    prefix: &str,
    tests: [(&str, HookTest); COUNT],
) -> Vec<Trial> {
    let trial = |(name, test): (&str, HookTest)| {
        unpinned(format!("{prefix}: {name}"), move |hook| {
            require_dual()?;
            test(hook)
        })
    };
    tests.map(trial).into()
}

/// Nothing, or what is still wrong.
pub type Attempt = Result<std::result::Result<(), String>>;

/// What an attempt comes to that has looked whether something is right.
pub fn attempted(is_right: bool, wrong: impl FnOnce() -> String) -> Attempt {
    Ok(if is_right { Ok(()) } else { Err(wrong()) })
}

/// Tries again until it is true, for what others do when they have time and tell
/// nobody of: the kernel, that frees programs, links and cgroups. `attempt` says what is
/// still wrong.
pub fn eventually(attempt: impl FnMut() -> Attempt) -> Result<()> {
    within(PATIENCE, attempt)
}

/// The same with another patience.
pub fn within(patience: Duration, mut attempt: impl FnMut() -> Attempt) -> Result<()> {
    const MOMENT: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + patience;
    loop {
        let Err(wrong) = attempt()? else {
            return Ok(());
        };
        ensure!(Instant::now() < deadline, "after {patience:?}: {wrong}");
        std::thread::sleep(MOMENT);
    }
}

/// The error that says why a trial cannot run here.
pub fn skip(reason: impl Into<String>) -> anyhow::Error {
    Skipped(reason.into()).into()
}

/// Whether [`skip`] made this error.
pub fn is_skip(error: &anyhow::Error) -> bool {
    error.is::<Skipped>()
}

#[derive(Debug)]
struct Skipped(String);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot run here: {}", self.0)
    }
}

impl std::error::Error for Skipped {}
