//! The trees: the same bytes each time.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{fs, path::Path};

/// Largest file of the tree of many.
const LARGEST: usize = 32 * 1024;

/// Files in one directory of the tree of many.
const IN_DIRECTORY: usize = 100;

/// The path of a file of the tree of many, below its root.
pub(crate) fn path(number: usize) -> String {
    let directory = number / IN_DIRECTORY;
    format!("part-{:02}/dir-{directory:04}/file-{number}.txt", directory % 50)
}

/// So many files with log-normal sizes of up to 32 KiB, half of each compressible.
pub(crate) fn many(root: &Path, files: usize, bytes: usize) {
    let mut rng = StdRng::seed_from_u64(1);
    let sizes = sizes(&mut rng, files, bytes);
    for (number, size) in sizes.into_iter().enumerate() {
        let path = root.join(path(number));
        if number % IN_DIRECTORY == 0 {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        fs::write(path, content(&mut rng, number, size)).unwrap();
    }
}

/// Gives a hundredth of the files of [`many`] other bytes of the same number: how many bytes that are.
pub(crate) fn change(root: &Path, files: usize, round: usize) -> u64 {
    let mut rng = StdRng::seed_from_u64(1000 + round as u64);
    let mut changed = 0;
    for number in (round..files).step_by(100) {
        let path = root.join(path(number));
        let size = fs::metadata(&path).unwrap().len();
        changed += size;
        fs::write(path, content(&mut rng, number + round + 1, size as usize)).unwrap();
    }
    changed
}

/// So many equally large files.
pub(crate) fn big(root: &Path, files: usize, bytes: usize) {
    let mut rng = StdRng::seed_from_u64(2);
    fs::create_dir_all(root).unwrap();
    for number in 0..files {
        fs::write(root.join(format!("file-{number}")), content(&mut rng, number, bytes / files)).unwrap();
    }
}

/// So many files with a few bytes each, a thousand in a directory.
pub(crate) fn tiny(root: &Path, files: usize) {
    for number in 0..files {
        let directory = root.join(format!("dir-{:04}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir_all(&directory).unwrap();
        }
        fs::write(directory.join(format!("file-{number}")), number.to_string()).unwrap();
    }
}

fn sizes(rng: &mut StdRng, files: usize, bytes: usize) -> Vec<usize> {
    let uniform = |rng: &mut StdRng| f64::from(rng.next_u32()) / f64::from(u32::MAX);
    // The sum of twelve uniform numbers is close to a normal one; its exponential is log-normal.
    let normal = |rng: &mut StdRng| (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0;
    let weights: Vec<f64> = (0..files).map(|_| normal(rng).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| ((weight / total * bytes as f64) as usize).min(LARGEST)).collect()
}

fn content(rng: &mut StdRng, number: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let half = size.div_ceil(2);
    rng.fill_bytes(&mut bytes[..half]);
    bytes[half..].fill(b'a' + (number % 26) as u8);
    bytes
}
