//! Runs two functions at the same time.

use std::panic::resume_unwind;
use std::thread;

/// Returns the results of both, with `one` run on another thread. If no thread can be
/// started, such as in a cgroup with a low limit on processes, `one` runs afterwards.
pub fn side_by_side<A: Send, B>(
    one: impl FnOnce() -> A + Copy + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, one);
        let other = other();
        let one = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(error) => {
                log::debug!("cannot start another thread: {error}");
                one()
            }
        };
        (one, other)
    })
}
