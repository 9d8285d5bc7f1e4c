//! The state of the host as the bot tells it: what people look at, and what nothing is matched against.

use super::{
    Host,
    inspect::{free_bytes, read},
};
use rustix::fs::statvfs;
use serde_json::{Map, Value, json};
use std::{fs, net::UdpSocket, path::Path};

/// Files in the temporary directory that are counted.
const MOST_FILES: usize = 100_000;

/// What the bot adds of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bot<'a> {
    pub(crate) data: &'a Path,
    /// Seconds since it was started.
    pub(crate) running_time: u64,
    /// Seconds since the epoch.
    pub(crate) started: u64,
    /// Named caches that the next attempt may have.
    pub(crate) caches: &'a [String],
    pub(crate) cache_max_bytes: u64,
    /// Attempts in a row that failed by its own fault.
    pub(crate) failures: u32,
}

/// What is told. Blocks, shortly.
pub(crate) fn state(host: &Host, bot: Bot<'_>) -> Map<String, Value> {
    let temporary = std::env::temp_dir();
    let disk = |path: &Path| {
        let mib = |bytes: u64| bytes / (1024 * 1024);
        let size = statvfs(path).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
        json!({ "free_mb": free_bytes(path).map_or(0, mib), "size_mb": mib(size) })
    };
    let mut disks = Map::new();
    for path in [Path::new("/"), bot.data, &temporary] {
        disks.insert(path.display().to_string(), disk(path));
    }
    let mib = |key| host.meminfo(key).map(|kib| kib / 1024);
    let state = json!({
        "cpu_name": host.cpuinfo("model name"),
        "cwd": std::env::current_dir().ok().map(|path| path.display().to_string()),
        "data": bot.data.display().to_string(),
        "disks": disks,
        "env": { "PATH": std::env::var("PATH").ok() },
        "failures_in_a_row": bot.failures,
        "gpu": host.gpus,
        "hostname": rustix::system::uname().nodename().to_string_lossy(),
        "input_cache": { "max_bytes": bot.cache_max_bytes },
        "ip": address(),
        "load": read("/proc/loadavg").split(' ').next().and_then(|load| load.parse::<f64>().ok()),
        "named_caches": bot.caches,
        "nb_files_in_temp": fs::read_dir(&temporary).map_or(0, |dir| dir.take(MOST_FILES).count()),
        "pid": std::process::id(),
        "python": host.python,
        "ram_mb": mib("MemTotal"),
        "ram_available_mb": mib("MemAvailable"),
        "reboot_required": Path::new("/var/run/reboot-required").exists(),
        "running_time": bot.running_time,
        "ssd": host.ssd,
        "started_ts": bot.started,
        "temp": temperatures(Path::new("/sys/class/thermal")),
        "uptime": read("/proc/uptime").split('.').next().and_then(|seconds| seconds.parse::<u64>().ok()),
        "user": rustix::process::getuid().as_raw(),
    });
    match state {
        Value::Object(state) => state,
        _ => Map::new(),
    }
}

/// The address that leads out of here. Nothing is sent.
fn address() -> Option<String> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    // For documentation only: nobody has it.
    socket.connect(("192.0.2.1", 9)).ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

/// Degrees Celsius, by zone.
fn temperatures(zones: &Path) -> Map<String, Value> {
    let zones = fs::read_dir(zones).into_iter().flatten().take(64).filter_map(Result::ok);
    let temperature = |zone: fs::DirEntry| {
        let millidegrees: f64 = read(zone.path().join("temp")).trim().parse().ok()?;
        Some((zone.file_name().into_string().ok()?, json!(millidegrees / 1000.0)))
    };
    zones.filter_map(temperature).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_names_disks_memory_and_where_the_bot_is() {
        let dir = tempfile::tempdir().unwrap();
        let caches = ["ccache".to_owned()];
        let bot = Bot {
            data: dir.path(),
            running_time: 5,
            started: 1000,
            caches: &caches,
            cache_max_bytes: 7,
            failures: 2,
        };
        let state = state(&Host::inspect(dir.path()), bot);
        assert!(state["disks"][dir.path().to_str().unwrap()]["free_mb"].as_u64().unwrap() > 0);
        assert!(state["ram_mb"].as_u64().unwrap() > 0 && state["uptime"].as_u64().unwrap() > 0);
        assert_eq!((&state["named_caches"], &state["running_time"]), (&json!(["ccache"]), &json!(5)));
        assert_eq!((&state["failures_in_a_row"], &state["pid"]), (&json!(2), &json!(std::process::id())));
    }

    #[test]
    fn temperatures_are_degrees() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("thermal_zone0")).unwrap();
        fs::write(dir.path().join("thermal_zone0/temp"), "47500\n").unwrap();
        fs::create_dir(dir.path().join("cooling_device0")).unwrap();
        assert_eq!(Value::Object(temperatures(dir.path())), json!({ "thermal_zone0": 47.5 }));
    }
}
