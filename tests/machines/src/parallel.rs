//! Jobs that run at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use anyhow::Result;

/// Does `job` for each item, for no more than `limit` at once. Returns the results in
/// the order of the items, or the first error, when all are done.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    limit: usize,
    job: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let (sender, results) = channel();
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            // The receiver is there as long as this function.
            let _ = sender.send((index, job(item)));
        }
    };
    thread::scope(|scope| {
        for _ in 0..limit.min(items.len()) {
            scope.spawn(work);
        }
    });
    drop(sender);
    let mut results: Vec<_> = results.into_iter().collect();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn does_each_once_and_no_more_than_the_limit_at_once() {
        let items: Vec<_> = (0..100).collect();
        let running = AtomicUsize::new(0);
        let results = each(&items, 2, |item| {
            let others = running.fetch_add(1, Ordering::SeqCst);
            thread::yield_now();
            running.fetch_sub(1, Ordering::SeqCst);
            assert!(others < 2);
            Ok(item * 10)
        });
        assert_eq!(results.unwrap(), (0..1000).step_by(10).collect::<Vec<_>>());
    }

    #[test]
    fn does_as_many_at_once_as_the_limit_says() {
        // Neither gets past it without the other.
        let both = Barrier::new(2);
        let results = each(&["first", "second"], 2, |item| {
            both.wait();
            Ok(*item)
        });
        assert_eq!(results.unwrap(), ["first", "second"]);
    }
}
