//! Two things at a time.

use std::panic::resume_unwind;
use std::thread;

/// What `one` and `other` come to, `one` on a thread of its own. Where none can be
/// started, in a cgroup of few processes, it comes after.
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
