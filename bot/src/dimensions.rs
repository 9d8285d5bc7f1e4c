//! What a bot finds out about its host, and what it is told on top. Pure but for [`Host::inspect`].

use proto::{BotId, DimensionError, Dimensions};
use std::collections::BTreeMap;

/// The facts that dimensions are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// Text of `/etc/os-release`.
    os_release: String,
    /// As `uname -m` prints it.
    machine: String,
    /// As `uname -r` prints it.
    kernel: String,
    /// Text of `/proc/meminfo`.
    meminfo: String,
    /// Threads that can run at once.
    cores: usize,
}

impl Host {
    /// Looks at this host. What cannot be found out is left empty, and the dimension is missing then.
    pub(crate) fn inspect() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let uname = rustix::system::uname();
        Self {
            os_release: read("/etc/os-release"),
            machine: uname.machine().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            meminfo: read("/proc/meminfo"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
        }
    }

    /// `Linux`, the distribution, and the distribution with its version, from the least to the most exact.
    fn os(&self) -> Vec<String> {
        let field = |name: &str| {
            let value =
                self.os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            let value = value.trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| value.to_owned())
        };
        let mut os = vec!["Linux".to_owned()];
        if let Some(id) = field("ID") {
            let mut letters = id.chars();
            let name: String =
                letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
            os.extend(field("VERSION_ID").map(|version| format!("{name}-{version}")));
            os.insert(1, name);
        }
        os
    }

    fn cpu(&self) -> Vec<String> {
        let names: &[&str] = match self.machine.as_str() {
            "" => &[],
            "x86_64" => &["x86", "x86-64"],
            "aarch64" => &["arm", "arm64"],
            other => &[other],
        };
        names.iter().map(ToString::to_string).collect()
    }

    /// Memory rounded to whole GiB, at least 1: what the kernel keeps to itself must not tell two equal hosts apart.
    fn memory(&self) -> Option<String> {
        let line = self.meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(((kib + 512 * 1024) / (1024 * 1024)).max(1).to_string())
    }
}

/// The bot's dimensions. A key of `configured` (`KEY=VALUE` each) replaces what was found out; `id` is the bot's name.
pub(crate) fn dimensions(
    host: &Host,
    id: &BotId,
    configured: &[String],
) -> Result<Dimensions, DimensionError> {
    let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::from([
        ("os", host.os()),
        ("cpu", host.cpu()),
        ("cores", (host.cores > 0).then(|| host.cores.to_string()).into_iter().collect()),
        ("kernel", Some(host.kernel.clone()).filter(|kernel| !kernel.is_empty()).into_iter().collect()),
        ("memory_gb", host.memory().into_iter().collect()),
        ("pool", vec!["default".into()]),
    ]);
    let mut told: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for pair in configured {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| DimensionError::Syntax { given: pair.clone() })?;
        told.entry(key).or_default().push(value.to_owned());
    }
    all.extend(told);
    all.insert("id", vec![id.to_string()]);
    let mut dimensions = Dimensions::default();
    for (key, values) in &all {
        dimensions.set(key, values.iter().map(String::as_str))?;
    }
    Ok(dimensions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dimensions: &Dimensions) -> String {
        let one = |(key, values): (&str, &std::collections::BTreeSet<String>)| {
            format!("{key}={}", values.iter().cloned().collect::<Vec<_>>().join("|"))
        };
        dimensions.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn host() -> Host {
        Host {
            os_release: "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\n".into(),
            machine: "x86_64".into(),
            kernel: "6.1.0-13-amd64".into(),
            meminfo: "MemTotal:       16303428 kB\nMemFree: 1 kB\n".into(),
            cores: 8,
        }
    }

    #[test]
    fn a_host_is_described() {
        let found = dimensions(&host(), &BotId::new("b1").unwrap(), &[]).unwrap();
        assert_eq!(
            text(&found),
            "cores=8 cpu=x86|x86-64 id=b1 kernel=6.1.0-13-amd64 memory_gb=16 os=Debian|Debian-12|Linux pool=default"
        );
    }

    #[test]
    fn what_is_told_replaces_what_was_found_but_not_the_id() {
        let told = ["pool=ci", "pool=gpu", "cores=2", "id=other"].map(str::to_owned);
        let all = dimensions(&host(), &BotId::new("b1").unwrap(), &told).unwrap();
        assert!(text(&all).contains("cores=2 ") && text(&all).contains("pool=ci|gpu"), "{}", text(&all));
        assert!(text(&all).contains("id=b1 "));
        assert!(dimensions(&host(), &BotId::new("b1").unwrap(), &["pool".into()]).is_err());
        assert!(dimensions(&host(), &BotId::new("b1").unwrap(), &["pool=a|b".into()]).is_err());
    }

    #[test]
    fn what_cannot_be_found_out_is_missing() {
        let found = dimensions(&Host::default(), &BotId::new("b1").unwrap(), &[]).unwrap();
        assert_eq!(text(&found), "id=b1 os=Linux pool=default");
        assert!(
            text(&dimensions(&Host::inspect(), &BotId::new("b1").unwrap(), &[]).unwrap()).contains("cores=")
        );
    }
}
