//! What tests of several crates need. Panics, as tests do.
#![expect(clippy::unwrap_used, clippy::panic, reason = "for tests")]

mod postgres;
mod small_disk;

pub use postgres::Postgres;
pub use small_disk::SmallDisk;

/// Where the package is whose tests run. Asked for when they run: a build directory may serve several work trees, and a
/// path from the time of the build would be that of another one.
pub fn package() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| std::env::current_dir().unwrap(), Into::into)
}
