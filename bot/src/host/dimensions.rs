//! What a bot says of its host in dimensions: what it has found out, and what it is told on top. Pure.

use super::Host;
use proto::{BotId, DimensionError, Dimensions};
use std::collections::BTreeMap;

/// What somebody has told, by key: it replaces what was found out.
pub(crate) type Told = BTreeMap<String, Vec<String>>;

impl Host {
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
            let version = field("VERSION_ID").unwrap_or_default();
            let ends = version.match_indices('.').map(|(end, _)| end).chain([version.len()]);
            let versions: Vec<String> = ends
                .filter(|end| *end > 0)
                .filter_map(|end| Some(format!("{name}-{}", version.get(..end)?)))
                .collect();
            os.push(name);
            os.extend(versions);
        }
        os
    }

    /// The architecture, from the least to the most exact; of x86-64 also what it can do beyond.
    fn cpu(&self) -> Vec<String> {
        let names: &[&str] = match self.machine.as_str() {
            "" => &[],
            "x86_64" => &["x86", "x86-64"],
            "aarch64" => &["arm", "arm64"],
            other => &[other],
        };
        let flags = self.cpuinfo("flags").unwrap_or_default();
        let has = |flag: &&str| self.machine == "x86_64" && flags.split(' ').any(|one| one == *flag);
        let more = FEATURES.iter().filter(|(_, flag)| has(flag)).map(|(name, _)| format!("x86-64-{name}"));
        names.iter().map(ToString::to_string).chain(more).collect()
    }

    /// Memory rounded to whole GiB, at least 1: what the kernel keeps to itself must not tell two equal hosts apart.
    fn memory(&self) -> Option<String> {
        let kib = self.meminfo("MemTotal")?;
        Some(((kib + 512 * 1024) / (1024 * 1024)).max(1).to_string())
    }

    /// Vendor, and vendor with device, of each; `none` without one.
    fn gpu(&self) -> Vec<String> {
        let Some(gpus) = &self.gpus else { return Vec::new() };
        if gpus.is_empty() {
            return vec!["none".into()];
        }
        let both = |gpu: &String| [gpu.split(':').next().unwrap_or_default().to_owned(), gpu.clone()];
        gpus.iter().flat_map(both).collect()
    }

    /// `3`, `3.11`.
    fn python(&self) -> Vec<String> {
        let Some(version) = &self.python else { return Vec::new() };
        let major = version.split('.').next().unwrap_or_default().to_owned();
        vec![major, version.clone()]
    }

    fn found(&self) -> BTreeMap<&'static str, Vec<String>> {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let flag = |value: Option<bool>| value.map(|is| u8::from(is).to_string()).into_iter().collect();
        BTreeMap::from([
            ("os", self.os()),
            ("cpu", self.cpu()),
            ("cores", (self.cores > 0).then(|| self.cores.to_string()).into_iter().collect()),
            ("kernel", one(&Some(self.kernel.clone()).filter(|kernel| !kernel.is_empty()))),
            ("memory_gb", one(&self.memory())),
            ("gpu", self.gpu()),
            ("python", self.python()),
            ("ssd", flag(self.ssd)),
            ("kvm", flag(self.kvm)),
            ("inside_docker", flag(self.inside_docker)),
            ("locale", one(&self.locale)),
            ("cpu_governor", self.governors.clone()),
            ("device_tree_compatible", self.device_tree.clone()),
            ("pool", vec!["default".into()]),
        ])
    }
}

/// Instruction sets that tests are chosen by, and the flags of `/proc/cpuinfo` that mean them.
const FEATURES: &[(&str, &str)] =
    &[("sse4.2", "sse4_2"), ("avx", "avx"), ("avx2", "avx2"), ("avx512", "avx512f"), ("sha", "sha_ni")];

/// `KEY=VALUE` each.
pub(crate) fn told(pairs: &[String]) -> Result<Told, DimensionError> {
    let mut told = Told::new();
    for pair in pairs {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| DimensionError::Syntax { given: pair.clone() })?;
        told.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    Ok(told)
}

/// The bot's dimensions. A key of `configured` replaces what was found out, one of `hook` both; `id` is the bot's name.
/// A value that was found out and cannot be one of a dimension is left out.
pub(crate) fn dimensions(
    host: &Host,
    id: &BotId,
    configured: &Told,
    hook: &Told,
) -> Result<Dimensions, DimensionError> {
    let mut dimensions = Dimensions::default();
    let by_others = |key: &str| configured.contains_key(key) || hook.contains_key(key);
    for (key, values) in host.found().into_iter().filter(|(key, _)| !by_others(key)) {
        for value in values {
            // Whatever a file of the kernel says.
            let _ = dimensions.insert(key, value.trim());
        }
    }
    let configured = configured.iter().filter(|(key, _)| !hook.contains_key(*key));
    for (key, values) in configured.chain(hook) {
        dimensions.set(key, values.iter().map(String::as_str))?;
    }
    dimensions.set("id", [id.as_str()])?;
    Ok(dimensions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dimensions: &Dimensions) -> String {
        let one = |(key, values): (&str, &[String])| format!("{key}={}", values.join("|"));
        dimensions.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn of(host: &Host, configured: &[&str]) -> Result<Dimensions, DimensionError> {
        let configured: Vec<String> = configured.iter().map(ToString::to_string).collect();
        dimensions(host, &BotId::new("b1").unwrap(), &told(&configured)?, &Told::new())
    }

    fn host() -> Host {
        Host {
            os_release: "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\n".into(),
            machine: "x86_64".into(),
            kernel: "6.1.0-13-amd64".into(),
            meminfo: "MemTotal:       16303428 kB\nMemFree: 1 kB\n".into(),
            cores: 8,
            cpuinfo: "model name\t: A CPU\nflags\t\t: fpu sse4_2 avx avx2\n".into(),
            gpus: Some(vec!["10de:1b80".into()]),
            python: Some("3.11".into()),
            ssd: Some(true),
            kvm: Some(false),
            inside_docker: Some(false),
            locale: Some("C.UTF-8".into()),
            governors: vec!["powersave".into()],
            device_tree: Vec::new(),
        }
    }

    #[test]
    fn a_host_is_described() {
        assert_eq!(
            text(&of(&host(), &[]).unwrap()),
            "cores=8 cpu=x86|x86-64|x86-64-avx|x86-64-avx2|x86-64-sse4.2 cpu_governor=powersave gpu=10de|10de:1b80 id=b1 \
             inside_docker=0 kernel=6.1.0-13-amd64 kvm=0 locale=C.UTF-8 memory_gb=16 os=Debian|Debian-12|Linux pool=default \
             python=3|3.11 ssd=1"
        );
        let ubuntu = Host { os_release: "ID=ubuntu\nVERSION_ID=\"22.04\"\n".into(), ..host() };
        let found = text(&of(&ubuntu, &[]).unwrap());
        assert!(found.contains("os=Linux|Ubuntu|Ubuntu-22|Ubuntu-22.04 "), "{found}");
    }

    #[test]
    fn what_is_told_replaces_what_was_found_but_not_the_id() {
        let all = of(&host(), &["pool=ci", "pool=gpu", "cores=2", "id=other"]).unwrap();
        assert!(text(&all).contains("cores=2 ") && text(&all).contains("pool=ci|gpu"), "{}", text(&all));
        assert!(text(&all).contains("id=b1 "));
        assert!(of(&host(), &["pool"]).is_err());
        assert!(of(&host(), &["pool=a|b"]).is_err());
    }

    #[test]
    fn what_a_hook_tells_replaces_both() {
        let configured = told(&["pool=ci".into(), "device=a".into()]).unwrap();
        let hook = told(&["device=b".into(), "kvm=maybe".into()]).unwrap();
        let all = dimensions(&host(), &BotId::new("b1").unwrap(), &configured, &hook).unwrap();
        let all = text(&all);
        assert!(all.contains("device=b ") && all.contains("kvm=maybe ") && all.contains("pool=ci"), "{all}");
    }

    #[test]
    fn what_cannot_be_found_out_is_missing() {
        assert_eq!(text(&of(&Host::default(), &[]).unwrap()), "id=b1 os=Linux pool=default");
        let odd = Host { governors: vec!["a|b".into(), String::new(), "ok\n".into()], ..Host::default() };
        assert!(text(&of(&odd, &[]).unwrap()).contains("cpu_governor=ok "));
        let here = text(&of(&Host::inspect(std::path::Path::new("/")), &[]).unwrap());
        for key in ["cores=", "kvm=", "inside_docker=", "cpu=", "memory_gb="] {
            assert!(here.contains(key), "{here}");
        }
    }
}
