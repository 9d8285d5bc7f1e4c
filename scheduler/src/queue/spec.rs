//! What a user asks for, with every default filled in.

use super::{
    earlier::{After, OutputOf},
    policy::FanOut,
};
use proto::{BotId, Digest, EnvironmentPrefix, NamedCache, RelPath, Requirement, Requirements, ShardId};
use std::{borrow::Cow, fmt, num::NonZeroU32, sync::Arc, time::Duration};

/// The dimension that is a bot's name.
pub(crate) const BOT_KEY: &str = "id";

/// A run as it was asked for. Valid by construction in `wire::spec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunSpec {
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) tags: Vec<String>,
    /// Lower is sooner.
    pub(crate) priority: u8,
    pub(crate) steps: Vec<Arc<StepSpec>>,
    /// The shard with whose attempt it ends.
    pub(crate) parent: Option<ShardId>,
    pub(crate) secret: Option<SealedSecret>,
}

/// A secret that only the holder of the key can read. Equal when what is in it is equal.
#[derive(Clone)]
pub(crate) struct SealedSecret {
    pub(crate) sealed: Arc<[u8]>,
    /// A keyed hash of what is in it.
    pub(crate) fingerprint: [u8; 32],
}

impl PartialEq for SealedSecret {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for SealedSecret {}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret")
    }
}

impl RunSpec {
    /// Shards of all steps together.
    pub(crate) fn shards(&self) -> u64 {
        self.steps.iter().map(|step| u64::from(step.fan_out.shards())).sum()
    }
}

/// One command over one isolated input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepSpec {
    pub(crate) name: String,
    /// None: there is none but the outputs of earlier steps.
    pub(crate) input: Option<Digest>,
    /// Replaces the manifest's command when not empty.
    pub(crate) command: Vec<String>,
    pub(crate) extra_args: Vec<String>,
    pub(crate) first: Slice,
    /// What is asked for next, in order.
    pub(crate) fallbacks: Vec<Slice>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) environment_prefixes: Vec<EnvironmentPrefix>,
    pub(crate) outputs: Vec<RelPath>,
    pub(crate) named_caches: Vec<NamedCache>,
    pub(crate) timeouts: Timeouts,
    pub(crate) fan_out: FanOut,
    /// How many bots a shard may lose.
    pub(crate) max_attempts: NonZeroU32,
    /// The same properties give the same result.
    pub(crate) idempotent: bool,
    /// By step. Those of `includes` are among them.
    pub(crate) after: Vec<After>,
    pub(crate) includes: Vec<OutputOf>,
}

/// What a shard asks of a bot, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) requirements: Requirements,
    /// How long a shard may stay pending.
    pub(crate) expiration: Duration,
    /// It stays so though no bot fits.
    pub(crate) wait_for_capacity: bool,
}

impl StepSpec {
    /// The slice of this number. The first one stands in where there are not so many.
    pub(crate) fn slice(&self, number: u8) -> &Slice {
        let fallback = usize::from(number).checked_sub(1).and_then(|fallback| self.fallbacks.get(fallback));
        fallback.unwrap_or(&self.first)
    }

    /// What the shard of this index asks for at the slice of this number: one that is for a bot asks for it, too, and
    /// waits for it.
    pub(crate) fn asked(&self, index: u32, number: u8) -> Cow<'_, Slice> {
        let slice = self.slice(number);
        let Some(bot) = self.fan_out.bot(index) else { return Cow::Borrowed(slice) };
        let mut requirements = slice.requirements.clone();
        requirements.insert(only(bot)).expect("a step with a shard for each bot leaves room for its name");
        Cow::Owned(Slice { requirements, wait_for_capacity: true, ..*slice })
    }

    /// How many there are.
    pub(crate) fn slices(&self) -> u8 {
        u8::try_from(self.fallbacks.len() + 1).unwrap_or(u8::MAX)
    }

    /// About what the shard of this index takes in a message.
    pub(super) fn bytes(&self, index: u32) -> usize {
        let items = match &self.fan_out {
            FanOut::Items(items) => items.bytes(index),
            FanOut::Shards(_) | FanOut::Tests(_) | FanOut::EachBot(_) => 0,
        };
        let texts = self.command.iter().chain(&self.extra_args).map(String::len);
        let variables = self.environment.iter().map(|(name, value)| name.len() + value.len());
        let outputs = self.outputs.iter().map(|path| path.as_str().len());
        let prefixes =
            self.environment_prefixes.iter().map(|prefix| prefix.name.len() + prefix.path.as_str().len());
        let caches =
            self.named_caches.iter().map(|cache| cache.name.as_str().len() + cache.path.as_str().len());
        texts.chain(variables).chain(outputs).chain(prefixes).chain(caches).map(|len| len + 16).sum::<usize>()
            + items
            + 1024
    }
}

/// What no other bot has.
pub(super) fn only(bot: &BotId) -> Requirement {
    Requirement::new(BOT_KEY, [bot.as_str()]).expect("every name of a bot is a value of a dimension")
}

/// How long a command may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    pub(crate) hard: Duration,
    /// Longest silence.
    pub(crate) io: Option<Duration>,
    /// Between TERM and KILL.
    pub(crate) grace: Duration,
}
