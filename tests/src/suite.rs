//! A test suite whose every line of output and every output file is known beforehand.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};
use tempfile::TempDir;

/// Each shard prints `lines` numbered lines, about one in `pause`, and writes one file.
#[derive(Debug)]
pub struct Suite {
    dir: TempDir,
    lines: u32,
}

impl Suite {
    /// `pause` in seconds, as `sleep` takes it.
    pub fn new(lines: u32, pause: &str) -> Self {
        let dir = TempDir::with_prefix("isoswarm-suite-").unwrap();
        let script = format!(
            "#!/bin/sh\n\
             set -e\n\
             i=0\n\
             while [ $i -lt {lines} ]; do\n\
             \techo \"shard $SHARD_INDEX of $SHARD_TOTAL line $i\"\n\
             \ti=$((i + 1))\n\
             \tsleep {pause}\n\
             done\n\
             mkdir \"$ISOLATED_OUTDIR/results\"\n\
             cat data/input.txt > \"$ISOLATED_OUTDIR/results/shard-$SHARD_INDEX.txt\"\n"
        );
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/input.txt"), Self::INPUT).unwrap();
        write_script(&dir.path().join("suite.sh"), &script);
        Self { dir, lines }
    }

    /// What the suite reads, and what each shard writes.
    pub const INPUT: &str = "what the suite needs at run time\n";

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// All that one shard prints.
    pub fn output(&self, index: u32, total: u32) -> String {
        (0..self.lines).map(|line| format!("shard {index} of {total} line {line}\n")).collect()
    }
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
