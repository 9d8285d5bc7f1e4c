//! One look at the host: what it is, what state it is in, and what is wrong with it.

use super::Limits;
use crate::{
    hooks::{Answer, Hook, Hooks},
    host::{self, Host, Told, dimensions, free_bytes},
    workdir::DataDir,
};
use cas::{disk::DiskCache, named::NamedCaches};
use proto::{BotId, Dimensions, Timestamp, limits};
use runtime::Clock;
use serde_json::{Map, Value, json};
use std::{io, path::PathBuf, sync::Arc, time::Duration};

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(super) dimensions: Dimensions,
    /// A JSON object.
    pub(super) state: String,
    /// What is wrong.
    pub(super) wrong: Vec<String>,
    /// Why the host is in maintenance; empty when it is not.
    pub(super) maintenance: String,
}

/// Looks.
#[derive(Debug)]
pub(crate) struct Examiner {
    pub(crate) bot: BotId,
    /// What the configuration says.
    pub(crate) configured: Told,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) data: Arc<DataDir>,
    pub(crate) limits: Limits,
    pub(crate) cache: DiskCache,
    pub(crate) named_caches: NamedCaches,
    pub(crate) clock: Arc<dyn Clock>,
    /// When the bot was started, by both clocks.
    pub(crate) started: (Timestamp, Duration),
}

impl Examiner {
    /// Looks at the host and calls the hooks of it; `idle` is how long the bot has had nothing to do, `failures` what it
    /// failed at in a row.
    pub(super) async fn examine(self: Arc<Self>, idle: Option<Duration>, failures: u32) -> Findings {
        let own = Arc::clone(&self);
        let looked = tokio::task::spawn_blocking(move || own.look(failures)).await;
        let (host, mut state, mut wrong) = match looked {
            Ok(looked) => looked,
            Err(error) => (Host::default(), Map::new(), vec![format!("cannot look at the host: {error}")]),
        };
        let mut answer = async |hook, more| match self.call(hook, more).await {
            Ok(answer) => answer,
            Err(why) => {
                wrong.push(why);
                Answer::default()
            }
        };
        let told = answer(Hook::GetDimensions, json!({})).await.dimensions;
        let more = answer(Hook::GetState, json!({ "state": state })).await;
        if let Some(idle) = idle {
            answer(Hook::OnIdle, json!({ "idle_seconds": idle.as_secs() })).await;
        }
        if !more.quarantined.is_empty() {
            wrong.push(more.quarantined);
        }
        state.extend(more.state);
        let dimensions = dimensions(&host, &self.bot, &self.configured, &told).unwrap_or_else(|error| {
            wrong.push(format!("hook {} failed: {error}", Hook::GetDimensions.name()));
            // Checked when the bot was opened.
            dimensions(&host, &self.bot, &self.configured, &Told::new()).unwrap_or_default()
        });
        Findings { dimensions, state: self.text(state, &mut wrong), wrong, maintenance: more.maintenance }
    }

    /// Calls a hook in a directory of its own.
    pub(super) async fn call(&self, hook: Hook, more: Value) -> Result<Answer, String> {
        if !self.hooks.has(hook) {
            return Ok(Answer::default());
        }
        let unplaced = |error: io::Error| format!("hook {} has no place: {error}", hook.name());
        let (dir, ()) = self.data.attempt(|_| Ok(())).map_err(unplaced)?;
        let answer = self.hooks.run(hook, more, &dir.path()).await;
        let removed = tokio::task::spawn_blocking(move || dir.remove()).await;
        removed.map_err(io::Error::other).flatten().map_err(unplaced)?;
        answer
    }

    /// Blocks.
    fn look(&self, failures: u32) -> (Host, Map<String, Value>, Vec<String>) {
        let wrong = self.lacking();
        let host = Host::inspect(self.data.root());
        let caches: Vec<String> =
            self.named_caches.names().unwrap_or_default().iter().map(ToString::to_string).collect();
        let (started, since) = self.started;
        let bot = host::Bot {
            data: self.data.root(),
            running_time: self.clock.elapsed().saturating_sub(since).as_secs(),
            started: started.since(Timestamp::default()).as_secs(),
            caches: &caches,
            cache_max_bytes: self.cache.max_bytes(),
            failures,
        };
        (host.clone(), host::state(&host, bot), wrong)
    }

    /// What there is too little of, after the caches have given up what they can.
    fn lacking(&self) -> Vec<String> {
        let disks: [PathBuf; 2] = [self.data.root().to_owned(), std::env::temp_dir()];
        let lacking = || {
            let lacks = |path: &PathBuf| match free_bytes(path) {
                Ok(free) => self.limits.disk(path, free),
                Err(error) => Some(format!("the disk of {} cannot be used: {error}", path.display())),
            };
            disks.iter().filter_map(lacks).collect::<Vec<_>>()
        };
        let lacks = lacking();
        if lacks.is_empty() {
            return lacks;
        }
        let trimmed = self.cache.make_room(0, 0).and_then(|()| self.named_caches.trim());
        if let Err(error) = trimmed {
            tracing::warn!(%error, "cannot trim the caches");
        }
        lacking()
    }

    fn text(&self, state: Map<String, Value>, wrong: &mut Vec<String>) -> String {
        let text = Value::Object(state).to_string();
        if text.len() <= limits::MAX_BOT_STATE_BYTES && !text.contains(char::is_control) {
            return text;
        }
        wrong.push(format!("hook {} failed: its state is too long", Hook::GetState.name()));
        String::new()
    }
}
