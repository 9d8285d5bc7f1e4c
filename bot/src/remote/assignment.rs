//! What the scheduler hands out, checked.

use super::{positive, suite};
use crate::attempt::{Assignment, Refused, Timeouts};
use proto::{Digest, EnvironmentPrefix, NamedCache, RelPath, Secret, v1};
use std::time::Duration;

/// Used when the scheduler names no hard timeout.
const DEFAULT_HARD: Duration = Duration::from_secs(60 * 60);

/// Used when the scheduler names no grace period.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// An assignment that makes sense.
pub(crate) fn assignment(wire: v1::Assignment) -> Result<Assignment, Refused> {
    let refuse = |reason: String| Refused { reason };
    let input = wire.input.as_ref().ok_or_else(|| refuse("it names no input".into()))?;
    let input = Digest::try_from(input).map_err(|error| refuse(error.to_string()))?;
    if wire.command.iter().chain(&wire.extra_args).any(|argument| argument.contains('\0')) {
        return Err(refuse("an argument of the command contains a NUL".into()));
    }
    let variable = |variable: v1::EnvironmentVariable| {
        let v1::EnvironmentVariable { name, value } = variable;
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(refuse(format!("`{}` cannot be an environment variable", name.escape_debug())));
        }
        Ok((name, value))
    };
    let outputs =
        wire.outputs.iter().map(|path| RelPath::new(path).map_err(|error| refuse(error.to_string())));
    let timeouts = wire.timeouts.unwrap_or_default();
    Ok(Assignment {
        input,
        environment: wire.environment.into_iter().map(variable).collect::<Result<_, _>>()?,
        environment_prefixes: EnvironmentPrefix::from_wire(&wire.environment_prefixes)
            .map_err(|error| refuse(error.to_string()))?,
        outputs: outputs.collect::<Result<_, _>>()?,
        named_caches: NamedCache::from_wire(&wire.named_caches).map_err(|error| refuse(error.to_string()))?,
        secret: match &wire.secret {
            None => None,
            Some(secret) => Some(Secret::try_from(secret).map_err(|error| refuse(error.to_string()))?),
        },
        tests: wire.tests.map(|order| suite::order(&order).map_err(refuse)).transpose()?,
        command: wire.command,
        extra_args: wire.extra_args,
        timeouts: Timeouts {
            hard: timeouts.hard.and_then(positive).unwrap_or(DEFAULT_HARD),
            io: timeouts.io.and_then(positive),
            grace: timeouts.grace.map_or(DEFAULT_GRACE, |grace| positive(grace).unwrap_or_default()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::DigestFunction;

    fn wire() -> v1::Assignment {
        v1::Assignment {
            input: Some(DigestFunction::Blake3.digest(b"x").into()),
            command: vec!["./test".into()],
            environment: vec![v1::EnvironmentVariable { name: "A".into(), value: "=b".into() }],
            outputs: vec!["out/report.xml".into()],
            ..Default::default()
        }
    }

    #[test]
    fn an_assignment_is_complete_or_refused_with_a_reason() {
        let parsed = assignment(wire()).unwrap();
        assert_eq!(parsed.environment, [("A".to_owned(), "=b".to_owned())]);
        assert_eq!(parsed.timeouts, Timeouts { hard: DEFAULT_HARD, io: None, grace: DEFAULT_GRACE });
        let spoil = |spoil: fn(&mut v1::Assignment)| {
            let mut wire = wire();
            spoil(&mut wire);
            assignment(wire).unwrap_err().to_string()
        };
        assert!(spoil(|wire| wire.input = None).contains("no input"));
        assert!(spoil(|wire| wire.input.as_mut().unwrap().hash.truncate(3)).contains("hex digits"));
        assert!(spoil(|wire| wire.outputs.push("../../etc/shadow".into())).contains("`..`"));
        assert!(spoil(|wire| wire.extra_args.push("\0".into())).contains("NUL"));
        assert!(spoil(|wire| wire.named_caches.push(v1::NamedCache::default())).contains("name of a cache"));
        assert!(spoil(|wire| wire.environment[0].name = "A=B".into()).contains("A=B"));
    }
}
