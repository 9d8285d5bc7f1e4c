//! What the scheduler hands out, checked.

use super::{positive, suite};
use crate::attempt::{Assignment, Refused, Timeouts};
use cas::tree::Graft;
use proto::{Digest, EnvironmentPrefix, NamedCache, RelPath, Secret, limits, v1};
use std::time::Duration;

/// Used when the scheduler names no hard timeout.
const DEFAULT_HARD: Duration = Duration::from_secs(60 * 60);

/// Used when the scheduler names no grace period.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// An assignment that makes sense.
pub(crate) fn assignment(wire: v1::Assignment) -> Result<Assignment, Refused> {
    let refuse = |reason: String| Refused { reason };
    let digest = |digest: &v1::Digest| Digest::try_from(digest).map_err(|error| refuse(error.to_string()));
    let input = wire.input.as_ref().map(digest).transpose()?;
    if input.is_none() && wire.includes.is_empty() {
        return Err(refuse("it names no input".into()));
    }
    if wire.includes.len() > limits::MAX_INCLUDED_SHARDS as usize {
        return Err(refuse(format!("it includes outputs of {} shards", wire.includes.len())));
    }
    let include = |included: &v1::IncludedOutputs| {
        let into = Some(&included.into).filter(|into| !into.is_empty());
        let into = into.map(|into| RelPath::new(into).map_err(|error| refuse(error.to_string())));
        Ok(Graft { manifest: included.outputs.as_ref().map(digest).transpose()?, into: into.transpose()? })
    };
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
        includes: wire.includes.iter().map(include).collect::<Result<_, _>>()?,
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
        let includes = |into: &str| vec![v1::IncludedOutputs { outputs: None, into: into.into() }];
        let alone = v1::Assignment { input: None, includes: includes("a/0"), ..wire() };
        let parsed = assignment(alone).unwrap();
        let into = Some(RelPath::new("a/0").unwrap());
        assert_eq!((parsed.input, parsed.includes), (None, vec![Graft { manifest: None, into }]));
        let outside = v1::Assignment { includes: includes("../x"), ..wire() };
        assert!(assignment(outside).unwrap_err().to_string().contains("`..`"));
        let many = v1::Assignment { includes: vec![v1::IncludedOutputs::default(); 1001], ..wire() };
        assert!(assignment(many).unwrap_err().to_string().contains("1001 shards"));
        assert!(spoil(|wire| wire.input.as_mut().unwrap().hash.truncate(3)).contains("hex digits"));
        assert!(spoil(|wire| wire.outputs.push("../../etc/shadow".into())).contains("`..`"));
        assert!(spoil(|wire| wire.extra_args.push("\0".into())).contains("NUL"));
        assert!(spoil(|wire| wire.named_caches.push(v1::NamedCache::default())).contains("name of a cache"));
        assert!(spoil(|wire| wire.environment[0].name = "A=B".into()).contains("A=B"));
    }
}
