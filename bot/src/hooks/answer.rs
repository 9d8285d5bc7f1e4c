//! What a hook prints. Pure.

use crate::host::Told;
use serde::Deserialize;
use serde_json::{Map, Value};

/// See the module. Nothing at all is an answer, too.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Answer {
    /// Of `get-dimensions`: each replaces what the bot has under this key.
    pub(crate) dimensions: Told,
    /// Of `get-state`: told beside what the bot says of its host.
    pub(crate) state: Map<String, Value>,
    /// Of any: why the bot is not to work. Stands until `get-state` is asked again or, from others, as a failure does.
    pub(crate) quarantined: String,
    /// Of `get-state`: the same, because somebody works on the host.
    pub(crate) maintenance: String,
}

impl Answer {
    /// What a hook has printed.
    pub(super) fn parse(printed: &[u8]) -> Result<Self, String> {
        if printed.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // An array would do for its keys in order.
        serde_json::from_slice::<Map<String, Value>>(printed)
            .and_then(|object| serde_json::from_value(Value::Object(object)))
            .map_err(|error| format!("its stdout is no answer: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_object_with_known_keys_or_nothing() {
        assert_eq!(Answer::parse(b" \n"), Ok(Answer::default()));
        let answer = Answer::parse(br#"{"dimensions": {"device": ["a", "b"]}, "state": {"battery": 80}}"#);
        let answer = answer.unwrap();
        assert_eq!(answer.dimensions["device"], ["a", "b"]);
        assert_eq!(answer.state["battery"], 80);
        assert_eq!(Answer::parse(br#"{"quarantined": "hot"}"#).unwrap().quarantined, "hot");
        for wrong in [&b"hello"[..], b"[]", br#"{"dimension": {}}"#, br#"{"dimensions": {"a": "b"}}"#] {
            assert!(Answer::parse(wrong).unwrap_err().starts_with("its stdout is no answer: "));
        }
    }
}
