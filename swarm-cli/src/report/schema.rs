//! What `--json FILE` writes, held to `docs/report.schema.json`.

use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../docs/report.schema.json")).unwrap()
}

/// Says where a document departs from the stored schema. Knows the keywords that it uses, and no others. Stricter than the
/// schema in one thing: keys that it does not have are departures, so that it has all of them.
pub(super) fn departures(document: &Value) -> Vec<String> {
    let schema = schema();
    let mut found = Vec::new();
    check(&schema, &schema, document, "", &mut found);
    found
}

fn check(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    for (keyword, wanted) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let at = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(at).unwrap(), value, path, found);
            }
            "type" => {
                let any = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
                if !any.iter().any(|one| is_of(one.as_str().unwrap(), value)) {
                    found.push(format!("{path}: {value} is not {wanted}"));
                }
            }
            "const" if value != wanted => found.push(format!("{path}: {value} is not {wanted}")),
            "enum" if !wanted.as_array().unwrap().contains(value) => {
                found.push(format!("{path}: {value} is none of {wanted}"));
            }
            "const" | "enum" => {}
            "items" => {
                for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, wanted, item, &format!("{path}/{n}"), found);
                }
            }
            "required" => {
                let lacks = |key: &&Value| value.is_object() && value.get(key.as_str().unwrap()).is_none();
                let lacking = wanted.as_array().unwrap().iter().filter(lacks);
                found.extend(lacking.map(|key| format!("{path}: {key} is missing")));
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    match wanted.get(key) {
                        Some(schema) => check(root, schema, value, &format!("{path}/{key}"), found),
                        None => found.push(format!("{path}/{key}: is not in the schema")),
                    }
                }
            }
            "additionalProperties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    check(root, wanted, value, &format!("{path}/{key}"), found);
                }
            }
            keyword => panic!("the schema uses {keyword}, which this check does not know"),
        }
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("the schema has the type {other}"),
    }
}

#[test]
fn a_document_that_is_not_of_the_schema_is_noticed() {
    let found =
        departures(&serde_json::json!({"schema_version": 2, "more": [], "tests": [{"status": "fine"}]}));
    for what in ["/schema_version: 2", "/more: is not in", "\"run\" is missing", "/tests/0/status: \"fine\""]
    {
        assert!(found.iter().any(|one| one.contains(what)), "{what}: {found:?}");
    }
}

#[test]
fn items_and_bots_of_shards_are_in_the_schema() {
    use crate::{
        model::{FanOut, Items, RunState},
        report::{ReportJson, merge},
        testing::{completed, run},
        verdict::judge,
    };
    let mut run = run(RunState::Succeeded, vec![completed(0, 0)]);
    run.shards[0].bot = Some("bot-0".parse().unwrap());
    let items = Items::new(vec!["a".into()], proto::Cut::Shards(std::num::NonZeroU32::MIN));
    for fan_out in [FanOut::Items(items), FanOut::EachBot { seen_within: None }] {
        run.spec.steps[0].fan_out = fan_out;
        let report = merge(&run, std::collections::BTreeMap::new(), &[]);
        let verdict = judge(&run, &report.findings);
        let json = serde_json::to_value(ReportJson::new(&run, &report, &verdict)).unwrap();
        assert_eq!(departures(&json), Vec::<String>::new());
    }
}
