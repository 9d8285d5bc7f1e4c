//! The merged report as JUnit XML.

use super::{Problem, ProblemKind, Report, Status, Suite, TestCase, Totals};
use crate::model::Run;
use std::{fmt::Write as _, time::Duration};

/// Writes one `<testsuite>` for each shard, all of a step under the step's name.
pub fn junit(run: &Run, report: &Report) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let time = report.suites.iter().map(|suite| suite.time).sum();
    let name = if run.spec.name.is_empty() { run.id.to_string() } else { run.spec.name.clone() };
    open(&mut xml, 0, "testsuites", &[("name", name.as_str())]);
    count_attributes(&mut xml, report.totals, time);
    xml.push_str(">\n");
    for suite in &report.suites {
        write_suite(&mut xml, run, suite);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn write_suite(xml: &mut String, run: &Run, suite: &Suite) {
    let id = suite.shard.map(|shard| shard.index.to_string()).unwrap_or_default();
    let started = suite.shard.and_then(|shard| run.shard(shard)?.attempt()?.started);
    let timestamp = started.map(crate::display::utc).unwrap_or_default();
    open(
        xml,
        1,
        "testsuite",
        &[("name", &suite.step), ("id", &id), ("hostname", &suite.bot), ("timestamp", &timestamp)],
    );
    count_attributes(xml, suite.totals(), suite.time);
    xml.push_str(">\n");
    let digest = |digest: Option<proto::Digest>| digest.map(|digest| digest.to_string()).unwrap_or_default();
    let properties = [
        ("shard", suite.shard.map(|shard| shard.to_string()).unwrap_or_default()),
        ("state", suite.state.map(|state| state.name().to_owned()).unwrap_or_default()),
        ("bot", suite.bot.clone()),
        ("attempt", if suite.shard.is_some() { suite.attempt.to_string() } else { String::new() }),
        ("digest", digest(suite.input)),
        ("outputs", digest(suite.outputs)),
        ("reproduce", suite.shard.map(|shard| format!("swarm reproduce {shard}")).unwrap_or_default()),
        ("unverified", if suite.unverified { "true".into() } else { String::new() }),
    ];
    write_properties(xml, 2, properties.iter().map(|(name, value)| (*name, value.as_str())));
    for case in suite.all() {
        write_case(xml, case);
    }
    xml.push_str("  </testsuite>\n");
}

fn write_properties<'a>(
    xml: &mut String,
    depth: usize,
    properties: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let mut properties = properties.filter(|(_, value)| !value.is_empty()).peekable();
    if properties.peek().is_none() {
        return;
    }
    let indent = "  ".repeat(depth);
    let _ = writeln!(xml, "{indent}<properties>");
    for (name, value) in properties {
        open(xml, depth + 1, "property", &[("name", name), ("value", value)]);
        xml.push_str("/>\n");
    }
    let _ = writeln!(xml, "{indent}</properties>");
}

fn count_attributes(xml: &mut String, totals: Totals, time: Duration) {
    let Totals { tests, failed, errored, skipped, disabled, .. } = totals;
    // JUnit knows no disabled tests: its readers expect `skipped` to have them.
    let skipped = skipped + disabled;
    let seconds = time.as_secs_f64();
    let _ = write!(
        xml,
        " tests=\"{tests}\" failures=\"{failed}\" errors=\"{errored}\" skipped=\"{skipped}\" time=\"{seconds:.3}\""
    );
}

fn write_case(xml: &mut String, case: &TestCase) {
    let time = case.time.map(|time| format!("{:.3}", time.as_secs_f64())).unwrap_or_default();
    let line = case.line.map(|line| line.to_string()).unwrap_or_default();
    open(xml, 2, "testcase", &[("classname", case.class_name.as_str())]);
    // A name stands there even when it is empty: it is what readers look for.
    let _ = write!(xml, " name=\"{}\"", escaped(&case.name));
    attributes(
        xml,
        &[("time", &time), ("timestamp", &case.timestamp), ("file", &case.file), ("line", &line)],
    );
    let before = xml.len();
    xml.push_str(">\n");
    let begun = xml.len();
    write_properties(xml, 3, case.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    match case.status {
        Status::Skipped => write_skipped(xml, &case.skip_message),
        Status::Disabled if case.skip_message.is_empty() => write_skipped(xml, "disabled"),
        Status::Disabled => write_skipped(xml, &case.skip_message),
        Status::Passed | Status::Failed | Status::Errored => {}
    }
    for problem in in_order(&case.problems) {
        write_problem(xml, problem);
    }
    write_text_element(xml, "system-out", &case.system_out);
    write_text_element(xml, "system-err", &case.system_err);
    if xml.len() == begun {
        xml.truncate(before);
        xml.push_str("/>\n");
    } else {
        xml.push_str("    </testcase>\n");
    }
}

/// What made the test red comes first: many readers look at one problem only.
fn in_order(problems: &[Problem]) -> impl Iterator<Item = &Problem> {
    let decides = |problem: &&Problem| matches!(problem.kind, ProblemKind::Failure | ProblemKind::Error);
    problems.iter().filter(decides).chain(problems.iter().filter(move |problem| !decides(problem)))
}

fn write_skipped(xml: &mut String, message: &str) {
    open(xml, 3, "skipped", &[("message", message.trim())]);
    xml.push_str("/>\n");
}

fn write_problem(xml: &mut String, problem: &Problem) {
    let element = problem.kind.element();
    open(xml, 3, element, &[("message", &problem.message), ("type", &problem.type_name)]);
    if problem.text.is_empty() {
        xml.push_str("/>\n");
        return;
    }
    xml.push('>');
    let nested = !matches!(problem.kind, ProblemKind::Failure | ProblemKind::Error);
    let (before, after) = if nested { ("<stackTrace>", "</stackTrace>") } else { ("", "") };
    let _ = writeln!(xml, "{before}{}{after}</{element}>", cdata(&problem.text));
}

fn write_text_element(xml: &mut String, element: &str, text: &str) {
    if !text.is_empty() {
        let _ = writeln!(xml, "      <{element}>{}</{element}>", cdata(text));
    }
}

/// The beginning of a tag, without its end.
fn open(xml: &mut String, depth: usize, element: &str, with: &[(&str, &str)]) {
    let _ = write!(xml, "{}<{element}", "  ".repeat(depth));
    attributes(xml, with);
}

fn attributes(xml: &mut String, attributes: &[(&str, &str)]) {
    for (name, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(xml, " {name}=\"{}\"", escaped(value));
    }
}

/// What XML 1.0 lets stand in a document at all.
fn is_allowed(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// As the value of an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars().filter(|&char| is_allowed(char)) {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Readers would make spaces of these.
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            char => out.push(char),
        }
    }
    out
}

/// As text that may contain anything, the end of a CDATA section too.
fn cdata(text: &str) -> String {
    let text: String = text.chars().filter(|&char| is_allowed(char)).collect();
    format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"))
}

#[cfg(test)]
mod tests;
