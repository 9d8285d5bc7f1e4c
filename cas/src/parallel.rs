//! Blocking work on all cores.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, Builder},
};

/// So many parts for each thread, so that none of them is idle for long at the end.
const PARTS: usize = 16;

/// Does `work` for all of `items`, in parts of up to `most` with the number of their first item, on as many threads as there are
/// cores. The first error ends it.
pub(crate) fn in_parts<T: Sync, E: Send>(
    items: &[T],
    most: usize,
    work: impl Fn(usize, &[T]) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let size = (items.len() / (cores * PARTS)).clamp(1, most);
    let parts = items.len().div_ceil(size);
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let run = || {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                break;
            }
            let (begin, end) = (part * size, items.len().min((part + 1) * size));
            if let Err(error) = work(begin, &items[begin..end]) {
                // The others find nothing more to do.
                next.store(parts, Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..cores.min(parts) {
            // Where no more threads are to be had, those that are there do it all.
            let _ = Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn everything_is_done_once_and_an_error_is_told(count in 0..300usize, most in 1..70usize) {
            let items: Vec<usize> = (0..count).collect();
            let done = Mutex::new(Vec::new());
            let note = |at: usize, part: &[usize]| {
                assert!(part[0] == at && part.len() <= most);
                done.lock().unwrap().extend_from_slice(part);
                Ok::<_, usize>(())
            };
            in_parts(&items, most, note).unwrap();
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            prop_assert_eq!(&done, &items);
            let fail = |_: usize, part: &[usize]| if part.contains(&(count / 2)) { Err(part[0]) } else { Ok(()) };
            prop_assert_eq!(in_parts(&items, most, fail).is_err(), count > 0);
        }
    }
}
