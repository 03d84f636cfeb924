//! Hands the programs to the kernel's verifier, two at a time.

use anyhow::{Context as _, Result, bail};
use aya::Ebpf;
use aya::programs::{Program, ProgramError};
use std::collections::HashMap;
use std::iter;
use std::sync::{Mutex, PoisonError};

use crate::host::parallel::side_by_side;

/// Name of the program that finds dual-stack servers, which is loaded once for each
/// network namespace and not with the others.
pub const STEER: &str = "steer";

/// The programs that take the verifier longest, the slowest last.
const SLOWEST: [&str; 3] = ["sendmsg4", "sendmsg6", "bind6"];

/// How the verifier's log ends for a function that it accepts.
const SAFE: &str = "is safe for any args that match its prototype";

/// Hands every program but [`STEER`] to the kernel. Returns its verdicts, by name.
///
/// The kernel verifies the programs of a privileged process in parallel (`bpf_check`
/// takes `bpf_verifier_lock` for others).
pub fn verify_all(ebpf: &mut Ebpf) -> HashMap<String, Result<()>> {
    let mut programs: Vec<_> = ebpf
        .programs_mut()
        .filter(|(name, _)| *name != STEER)
        .collect();
    // The slowest starts first: they are taken from the end.
    programs.sort_by_key(|(name, _)| SLOWEST.iter().position(|slow| slow == name));
    let waiting = Mutex::new(programs);
    // Nobody panics while holding the lock, which is released when the call ends.
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop()
    };
    let work = || {
        iter::from_fn(next)
            .map(|(name, program)| (name.to_owned(), verify(name, program)))
            .collect::<Vec<_>>()
    };
    let (one, other) = side_by_side(work, work);
    one.into_iter().chain(other).collect()
}

/// Hands one program to the kernel.
///
/// # Errors
///
/// If the verifier refuses it.
pub fn verify(name: &str, program: &mut Program) -> Result<()> {
    match program {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::SkLookup(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => bail!("program {name} of the eBPF object is of an unknown type"),
    }
    .map_err(explain)
    .with_context(|| {
        format!(
            "load program {name} into the kernel: needs Linux 5.10 or later, CAP_BPF, \
             CAP_NET_ADMIN and CAP_PERFMON"
        )
    })
}

/// Returns the error of a load with only the verifier's complaint: the last lines of its
/// log before the statistics.
fn explain(error: ProgramError) -> anyhow::Error {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return error.into();
    };
    let log = verifier_log.to_string();
    let mut complaint: Vec<_> = log
        .lines()
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("verification time") && !line.starts_with("processed"))
        .collect();
    // Nothing was verified, or everything: the functions that are verified separately
    // come last (`do_check_subprogs`).
    if complaint.last().is_none_or(|line| line.ends_with(SAFE)) {
        return io_error.into();
    }
    let complaint = complaint
        .split_off(complaint.len().saturating_sub(2))
        .join(": ");
    anyhow::Error::new(io_error).context(format!("the verifier says {complaint:?}"))
}
