//! What a bot says of its own fitness. Volatile, like all that is known of bots.

/// See the module. Empty parts: nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Why it keeps itself from work.
    pub(crate) quarantined: String,
    /// The same, because somebody works on its host.
    pub(crate) maintenance: String,
    /// What an operator should know and what keeps it from nothing.
    pub(crate) notice: String,
    /// What it says of its host, in JSON. A report without one leaves the last one standing.
    pub(crate) state: String,
}

impl Condition {
    /// Whether the bot takes work.
    pub(super) fn is_fit(&self) -> bool {
        self.quarantined.is_empty() && self.maintenance.is_empty()
    }

    /// What keeps the bot from work, in words.
    pub(super) fn obstacles(&self) -> impl Iterator<Item = String> {
        let told = |what: &str, why: &String| (!why.is_empty()).then(|| format!("{what}: {why}"));
        let quarantined = told("the bot has quarantined itself", &self.quarantined);
        quarantined.into_iter().chain(told("the bot is in maintenance", &self.maintenance))
    }

    /// Takes in what a later report says.
    pub(super) fn update(&mut self, told: &Self) {
        let state = if told.state.is_empty() { std::mem::take(&mut self.state) } else { told.state.clone() };
        *self = Self { state, ..told.clone() };
    }
}
