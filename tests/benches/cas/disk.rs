//! What the disk itself gives: files written and synced, one thread for each call at a time.

use super::peers::temporary;
use runtime::{Clock as _, SystemClock};
use std::{
    fs::File,
    io::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// Files of `size` bytes written and synced a second.
pub(crate) fn rate(size: usize, count: usize, concurrency: usize, limit: Duration) -> f64 {
    let dir = temporary();
    let bytes = cas::testing::noise(9, size.min(1 << 20));
    let (next, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let clock = SystemClock::new();
    let start = clock.elapsed();
    thread::scope(|scope| {
        for _ in 0..concurrency {
            scope.spawn(|| {
                while clock.elapsed() - start < limit {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let mut file = File::create(dir.path().join(number.to_string())).unwrap();
                    (0..size / bytes.len()).for_each(|_| file.write_all(&bytes).unwrap());
                    file.sync_data().unwrap();
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    made.into_inner() as f64 / (clock.elapsed() - start).as_secs_f64()
}

/// The time of one small append with its sync, the middle of many.
pub(crate) fn append(count: usize) -> Duration {
    let dir = temporary();
    let mut file = File::create(dir.path().join("log")).unwrap();
    let clock = SystemClock::new();
    let mut all: Vec<Duration> = (0..count)
        .map(|_| {
            let start = clock.elapsed();
            file.write_all(&[7; 1024]).unwrap();
            file.sync_data().unwrap();
            clock.elapsed() - start
        })
        .collect();
    all.sort_unstable();
    all[all.len() / 2]
}
