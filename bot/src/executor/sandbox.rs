//! Commands in a sandbox of bubblewrap: the host read-only, no network, nothing of the bot's directory but what is the
//! attempt's own. Pure: what is run instead of the command.

use super::{Command, MARKER};
use crate::{attempt::CommandExit, workdir};
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sandbox {
    /// `bwrap`.
    pub(crate) program: PathBuf,
    /// The bot's directory.
    pub(crate) data: PathBuf,
    /// Whether commands reach the network.
    pub(crate) network: bool,
}

impl Sandbox {
    /// What runs `command` in the sandbox. The directories of its attempt are where they are outside: paths in its
    /// environment and its arguments stay true.
    pub(super) fn around(&self, command: &Command) -> Command {
        let mut arguments: Vec<String> = Vec::new();
        let mut add = |flag: &str, paths: &[&Path]| {
            arguments.push(flag.to_owned());
            // Data directories are UTF-8, and so is what is below them.
            arguments.extend(paths.iter().map(|path| path.to_string_lossy().into_owned()));
        };
        add("--unshare-user-try", &[]);
        for namespace in ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"] {
            add(namespace, &[]);
        }
        if !self.network {
            add("--unshare-net", &[]);
        }
        let root = Path::new("/");
        add("--ro-bind", &[root, root]);
        add("--dev", &[Path::new("/dev")]);
        add("--proc", &[Path::new("/proc")]);
        for hidden in ["/tmp", "/var/tmp", "/run"] {
            add("--tmpfs", &[Path::new(hidden)]);
        }
        if self.network {
            let resolver = Path::new("/run/systemd/resolve");
            add("--ro-bind-try", &[resolver, resolver]);
        }
        add("--tmpfs", &[&self.data]);
        if let Some(home) = command.environment.get(MARKER).map(Path::new) {
            for own in workdir::writable(home) {
                add("--bind", &[&own, &own]);
            }
            let secret = workdir::secret(home);
            add("--ro-bind-try", &[&secret, &secret]);
        }
        add("--remount-ro", &[&self.data]);
        add("--chdir", &[&command.directory]);
        add("--", &[&command.program]);
        arguments.extend(command.arguments.iter().cloned());
        Command { program: self.program.clone(), arguments, sandboxed: true, ..command.clone() }
    }
}

/// How the command in the sandbox ended, when bubblewrap ended like this: a signal becomes an exit code above 128. So does that
/// of a shell's child, which nothing tells apart.
pub(super) fn within(exit: CommandExit) -> CommandExit {
    match exit {
        CommandExit::Code(code @ 129..=192) if !HARMLESS.contains(&(code - 128)) => {
            CommandExit::Signal(code - 128)
        }
        exit => exit,
    }
}

/// Signals that end nothing: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH.
const HARMLESS: [i32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_signal_is_known_again_behind_bubblewrap() {
        let code = CommandExit::Code;
        assert_eq!(within(code(134)), CommandExit::Signal(6));
        for exit in [code(0), code(1), code(128), code(145), code(255), CommandExit::Signal(9)] {
            assert_eq!(within(exit), exit);
        }
    }

    #[test]
    fn a_command_sees_its_own_directories_and_no_network() {
        let sandbox = Sandbox { program: "/usr/bin/bwrap".into(), data: "/data".into(), network: false };
        let command = Command {
            program: "./test".into(),
            arguments: vec!["--tmpfs".into(), "x".into()],
            environment: BTreeMap::from([(MARKER.to_owned(), "/data/work/1".to_owned())]),
            directory: "/data/work/1/in/sub".into(),
            ..Command::default()
        };
        let wrapped = sandbox.around(&command);
        assert_eq!(wrapped.program, PathBuf::from("/usr/bin/bwrap"));
        assert!(wrapped.sandboxed && wrapped.environment == command.environment);
        let line = wrapped.arguments.join(" ");
        assert!(line.contains("--unshare-net ") && line.contains("--ro-bind / / "), "{line}");
        let order = ["--tmpfs /tmp ", "--tmpfs /data ", "--bind /data/work/1/in ", "--remount-ro /data "];
        let places: Vec<_> = order.iter().map(|part| line.find(part).unwrap()).collect();
        assert!(places.is_sorted(), "what comes later lies on what came before: {line}");
        assert!(line.ends_with("--chdir /data/work/1/in/sub -- ./test --tmpfs x"), "{line}");
        let open = Sandbox { network: true, ..sandbox }.around(&command);
        assert!(!open.arguments.contains(&"--unshare-net".to_owned()));
    }
}
