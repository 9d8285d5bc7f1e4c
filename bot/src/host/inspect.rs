//! Facts of the host, read from where Linux has them. What cannot be found out is empty.

use rustix::fs::{major, minor, stat, statvfs};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// PCI classes of displays begin so.
const DISPLAY_CLASS: &str = "0x03";

/// Devices, processors and the like that are looked at.
const MOST: usize = 4096;

/// What dimensions and state are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// Text of `/etc/os-release`.
    pub(super) os_release: String,
    /// As `uname -m` prints it.
    pub(super) machine: String,
    /// As `uname -r` prints it.
    pub(super) kernel: String,
    /// Text of `/proc/meminfo`.
    pub(super) meminfo: String,
    /// Text of `/proc/cpuinfo`.
    pub(super) cpuinfo: String,
    /// Threads that can run at once.
    pub(super) cores: usize,
    /// `VENDOR:DEVICE` of each display on the PCI bus. None: there is no such bus.
    pub(super) gpus: Option<Vec<String>>,
    /// What `python3` in the `PATH` is: `3.11`.
    pub(super) python: Option<String>,
    /// Whether the bot's directory is on a disk that does not turn.
    pub(super) ssd: Option<bool>,
    pub(super) kvm: Option<bool>,
    pub(super) inside_docker: Option<bool>,
    pub(super) locale: Option<String>,
    pub(super) governors: Vec<String>,
    /// What a board is compatible with, where there is a device tree.
    pub(super) device_tree: Vec<String>,
}

impl Host {
    /// Looks at this host; `data` is the bot's directory. Blocks, shortly.
    pub(crate) fn inspect(data: &Path) -> Self {
        let uname = rustix::system::uname();
        let docker = Path::new("/.dockerenv").exists() || read("/proc/1/cgroup").contains("docker");
        Self {
            os_release: read("/etc/os-release"),
            machine: uname.machine().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            meminfo: read("/proc/meminfo"),
            cpuinfo: read("/proc/cpuinfo"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            gpus: gpus(Path::new("/sys/bus/pci/devices")),
            python: python(&std::env::var("PATH").unwrap_or_default()),
            ssd: is_ssd(data),
            kvm: Some(Path::new("/dev/kvm").exists()),
            inside_docker: Some(docker),
            locale: ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| std::env::var(name).ok()),
            governors: governors(Path::new("/sys/devices/system/cpu")),
            device_tree: texts(&read("/proc/device-tree/compatible")),
        }
    }

    /// The first value of a key in `/proc/cpuinfo`.
    pub(super) fn cpuinfo(&self, key: &str) -> Option<&str> {
        let mut fields = self.cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
    }

    /// A value of `/proc/meminfo`, in KiB.
    pub(super) fn meminfo(&self, key: &str) -> Option<u64> {
        let line = self.meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().trim_end_matches("kB").trim().parse().ok()
    }
}

/// What somebody without special rights can still write to the disk of this path.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

pub(super) fn read(path: impl AsRef<Path>) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn entries(dir: &Path) -> Option<impl Iterator<Item = PathBuf>> {
    Some(fs::read_dir(dir).ok()?.take(MOST).filter_map(|entry| Some(entry.ok()?.path())))
}

fn texts(list: &str) -> Vec<String> {
    list.split('\0').filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn gpus(devices: &Path) -> Option<Vec<String>> {
    let number = |path: PathBuf| Some(read(path).trim().strip_prefix("0x")?.to_owned());
    let display = entries(devices)?.filter(|device| read(device.join("class")).starts_with(DISPLAY_CLASS));
    let mut gpus: Vec<String> = display
        .filter_map(|one| Some(format!("{}:{}", number(one.join("vendor"))?, number(one.join("device"))?)))
        .collect();
    gpus.sort();
    gpus.dedup();
    Some(gpus)
}

fn python(path: &str) -> Option<String> {
    let found = std::env::split_paths(path).map(|dir| dir.join("python3")).find(|path| path.exists())?;
    let name = found.canonicalize().ok()?;
    let version = name.file_name()?.to_str()?.strip_prefix("python")?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

fn is_ssd(path: &Path) -> Option<bool> {
    let device = stat(path).ok()?.st_dev;
    let block = Path::new("/sys/dev/block").join(format!("{}:{}", major(device), minor(device)));
    let block = block.canonicalize().ok()?;
    // A partition has no queue of its own, its disk has.
    let queue = [block.join("queue"), block.parent()?.join("queue")];
    let rotational =
        queue.iter().map(|queue| read(queue.join("rotational"))).find(|text| !text.is_empty())?;
    Some(rotational.trim() == "0")
}

fn governors(cpus: &Path) -> Vec<String> {
    let cpus = entries(cpus).into_iter().flatten();
    let mut all: Vec<String> = cpus
        .map(|cpu| read(cpu.join("cpufreq/scaling_governor")).trim().to_owned())
        .filter(|governor| !governor.is_empty())
        .collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_of_a_bus_and_governors_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let device = |name: &str, class: &str, vendor: &str| {
            let path = dir.path().join("pci").join(name);
            fs::create_dir_all(&path).unwrap();
            for (file, text) in [("class", class), ("vendor", vendor), ("device", "0x1b80\n")] {
                fs::write(path.join(file), text).unwrap();
            }
        };
        device("0000:01:00.0", "0x030000\n", "0x10de\n");
        device("0000:02:00.0", "0x020000\n", "0x8086\n");
        assert_eq!(gpus(&dir.path().join("pci")), Some(vec!["10de:1b80".to_owned()]));
        assert_eq!(gpus(&dir.path().join("none")), None);
        for (cpu, governor) in [("cpu0", "powersave\n"), ("cpu1", "powersave\n"), ("cpu2", "")] {
            let cpu = dir.path().join(cpu).join("cpufreq");
            fs::create_dir_all(&cpu).unwrap();
            fs::write(cpu.join("scaling_governor"), governor).unwrap();
        }
        assert_eq!(governors(dir.path()), ["powersave"]);
        assert_eq!(texts("fsl,imx6q\0fsl,imx\0"), ["fsl,imx6q", "fsl,imx"]);
    }

    #[test]
    fn the_version_of_python_is_that_of_what_the_link_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("python3.12"), "").unwrap();
        std::os::unix::fs::symlink("python3.12", dir.path().join("python3")).unwrap();
        let path = format!("/nowhere:{}", dir.path().display());
        assert_eq!(python(&path).as_deref(), Some("3.12"));
        assert_eq!(python("/nowhere"), None);
    }

    #[test]
    fn this_disk_has_room() {
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
        assert!(free_bytes(Path::new("/no/such/place")).is_err());
    }
}
