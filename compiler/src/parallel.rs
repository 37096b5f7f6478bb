//! Work that is spread over the cores, with results in the order of the work.

use std::panic::resume_unwind;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// A thread costs about as much time as this many units of work: bytes of source.
const WORTH_A_THREAD: usize = 8 * 1024;

/// As much stack as a program starts with: what can be read must not depend on who reads it.
const STACK: usize = 8 * 1024 * 1024;

/// How many there are. Asking the system reads several files, so it is asked once.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Makes each item into something, on as many threads as there are cores where so much work is worth it.
pub(crate) fn map<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(&T) -> usize,
    make: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let total: usize = items.iter().map(&work).sum();
    let worth = items.len().min(total / WORTH_A_THREAD);
    if worth < 2 || cores() < 2 {
        return items.into_iter().map(make).collect();
    }
    spread(items.into_iter(), worth.min(cores()), make)
}

/// As [`map`], on all cores, of items that are still being found while the first are worked on.
pub(crate) fn each<T: Send, R: Send>(
    items: impl Iterator<Item = T> + Send,
    make: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    spread(items, cores(), make)
}

fn spread<T: Send, R: Send>(
    items: impl Iterator<Item = T> + Send,
    threads: usize,
    make: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let items = Mutex::new(items.enumerate());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        let mut made = Vec::new();
        while let Some((index, item)) = next() {
            made.push((index, make(item)));
        }
        made
    };
    thread::scope(|scope| {
        // Where no thread can be had, this one does all the work.
        let spawn = |_| thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).ok();
        let others: Vec<_> = (1..threads).filter_map(spawn).collect();
        let mut made = run();
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        made.sort_unstable_by_key(|(index, _)| *index);
        made.into_iter().map(|(_, it)| it).collect()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_stand_in_the_order_of_the_work() {
        let numbers: Vec<usize> = (0..1000).collect();
        let doubled = super::map(numbers.clone(), |_| super::WORTH_A_THREAD, |number| number * 2);
        assert_eq!(doubled, numbers.iter().map(|number| number * 2).collect::<Vec<_>>());
    }
}
