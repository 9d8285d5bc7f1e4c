//! JUnit and gtest XML, read liberally: whatever frameworks write, as long as it is XML at all.
//!
//! Accepted beside the usual: no `<testsuites>`, several roots, nested suites, `time="0."` and `time="1,234.5"`, bytes that
//! are not UTF-8, entities that nobody declared, a file that ends in the middle (what is whole is kept, and the damage told).

use super::{Problem, ProblemKind, Status, TestCase};
use quick_xml::{
    Reader,
    escape::{resolve_predefined_entity, unescape},
    events::{BytesRef, BytesStart, Event},
};
use std::time::Duration;

/// Longest text kept of one element.
const MAX_TEXT: usize = 1024 * 1024;

/// What a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// In order.
    pub cases: Vec<TestCase>,
    /// Why it could not be read to its end.
    pub damage: Option<String>,
}

/// Reads a report. `None` when the file is something else: XML of another kind, or no XML at all.
pub fn parse(bytes: &[u8]) -> Option<Parsed> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    config.check_comments = false;
    let mut state = State::default();
    let damage = loop {
        match reader.read_event() {
            Ok(Event::Eof) => break state.open().map(|name| format!("it ends inside of <{name}>")),
            Ok(event) => {
                if state.take(event).is_err() {
                    return None;
                }
            }
            Err(error) => break Some(format!("at byte {}: {error}", reader.error_position())),
        }
    };
    state.seen_root.then_some(Parsed { cases: state.cases, damage })
}

/// The root is no report's.
struct NotAReport;

/// Where the reader stands.
#[derive(Default)]
struct State {
    seen_root: bool,
    elements: Vec<Element>,
    suites: Vec<String>,
    case: Option<TestCase>,
    problem: Option<Problem>,
    cases: Vec<TestCase>,
}

/// An open element, and what its text is for.
#[derive(Clone, Debug, PartialEq)]
enum Element {
    Suites,
    Suite,
    Case,
    Problem,
    Skipped,
    SystemOut,
    SystemErr,
    Property { name: String, value: Option<String>, text: String },
    Other,
}

impl Element {
    fn name(&self) -> &'static str {
        match self {
            Self::Suites => "testsuites",
            Self::Suite => "testsuite",
            Self::Case => "testcase",
            Self::Problem => "failure",
            Self::Skipped => "skipped",
            Self::SystemOut => "system-out",
            Self::SystemErr => "system-err",
            Self::Property { .. } => "property",
            Self::Other => "another element",
        }
    }
}

impl State {
    fn open(&self) -> Option<&'static str> {
        self.elements.last().map(Element::name)
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), NotAReport> {
        match event {
            Event::Start(start) => self.start(&start)?,
            Event::Empty(start) => {
                self.start(&start)?;
                self.end();
            }
            Event::End(_) => self.end(),
            Event::Text(text) => self.text(&text.xml10_content()),
            Event::CData(text) => self.text(&text.xml10_content()),
            Event::GeneralRef(reference) => self.text(&resolve(&reference)),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => {}
        }
        Ok(())
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), NotAReport> {
        let name = start.local_name();
        let name: &str = name.as_ref();
        let element = match name {
            "testsuites" if self.case.is_none() => Element::Suites,
            "testsuite" if self.case.is_none() => {
                self.suites.push(attribute(start, "name").unwrap_or_default());
                Element::Suite
            }
            _ if self.elements.is_empty() => return Err(NotAReport),
            "testcase" if self.case.is_none() => {
                self.case = Some(case(start, self.suites.last()));
                Element::Case
            }
            _ => self.start_in_case(name, start),
        };
        self.seen_root = true;
        self.elements.push(element);
        Ok(())
    }

    fn start_in_case(&mut self, name: &str, start: &BytesStart<'_>) -> Element {
        let Some(case) = &mut self.case else { return Element::Other };
        let attribute_or_empty = |name| attribute(start, name).unwrap_or_default();
        if let Some(kind) = ProblemKind::from_element(name)
            && self.problem.is_none()
        {
            case.status = case.status.max(match kind {
                ProblemKind::Failure => Status::Failed,
                ProblemKind::Error => Status::Errored,
                _ => case.status,
            });
            let (message, type_name) = (attribute_or_empty("message"), attribute_or_empty("type"));
            self.problem = Some(Problem { kind, message, type_name, text: String::new() });
            return Element::Problem;
        }
        match name {
            "skipped" | "disabled" if self.problem.is_none() => {
                if !case.status.is_bad() {
                    case.status = if name == "skipped" { Status::Skipped } else { Status::Disabled };
                }
                case.skip_message = attribute_or_empty("message");
                Element::Skipped
            }
            "system-out" if self.problem.is_none() => Element::SystemOut,
            "system-err" if self.problem.is_none() => Element::SystemErr,
            "property" => Element::Property {
                name: attribute_or_empty("name"),
                value: attribute(start, "value"),
                text: String::new(),
            },
            // A stack trace or the output of a rerun: text of the problem that it stands in.
            _ => Element::Other,
        }
    }

    fn end(&mut self) {
        match self.elements.pop() {
            Some(Element::Suite) => drop(self.suites.pop()),
            Some(Element::Case) => self.cases.extend(self.case.take()),
            Some(Element::Problem) => {
                if let (Some(case), Some(problem)) = (&mut self.case, self.problem.take()) {
                    case.problems.push(problem);
                }
            }
            Some(Element::Property { name, value, text }) => {
                if let Some(case) = &mut self.case {
                    case.properties.push((name, value.unwrap_or(text)));
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let problem = self.problem.as_mut().map(|problem| &mut problem.text);
        let target = match (self.elements.last_mut(), &mut self.case) {
            (Some(Element::Property { text, .. }), _) => Some(text),
            (Some(Element::SystemOut), Some(case)) => Some(&mut case.system_out),
            (Some(Element::SystemErr), Some(case)) => Some(&mut case.system_err),
            (Some(Element::Skipped), Some(case)) if !text.trim().is_empty() => Some(&mut case.skip_message),
            (Some(Element::Problem | Element::Other), _) => problem,
            _ => None,
        };
        if let Some(target) = target {
            append(target, text);
        }
    }
}

/// Appends up to the bound, and says once that there was more.
fn append(target: &mut String, text: &str) {
    let room = MAX_TEXT.saturating_sub(target.len());
    if text.len() <= room {
        target.push_str(text);
    } else if room > 0 {
        target.push_str(&text[..text.floor_char_boundary(room)]);
        target.push_str("\n[cut: longer than 1 MiB]");
    }
}

/// What `&…;` stands for; itself, when nobody declared it.
fn resolve(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(char)) = reference.resolve_char_ref() {
        return char.to_string();
    }
    let name: &str = reference;
    resolve_predefined_entity(name).map_or_else(|| format!("&{name};"), str::to_owned)
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = start.attributes();
    // The same attribute twice is a framework's mistake, not ours to punish.
    attributes.with_checks(false);
    attributes.flatten().find(|attribute| attribute.key.0 == name).map(|attribute| value(&attribute.value))
}

fn value(raw: &str) -> String {
    unescape(raw).map_or_else(|_| raw.to_owned(), |value| value.into_owned())
}

/// Attributes that have a place of their own; older gtest writes recorded properties as attributes, too.
const KNOWN: [&str; 11] = [
    "name",
    "classname",
    "class",
    "time",
    "duration",
    "timestamp",
    "file",
    "line",
    "status",
    "result",
    "assertions",
];

fn case(start: &BytesStart<'_>, suite: Option<&String>) -> TestCase {
    let get = |name| attribute(start, name);
    let class_name = get("classname").or_else(|| get("class")).or_else(|| suite.cloned());
    let mut case = TestCase::new(class_name.unwrap_or_default(), get("name").unwrap_or_default());
    case.time = get("time").or_else(|| get("duration")).and_then(|text| seconds(&text));
    case.timestamp = get("timestamp").unwrap_or_default();
    case.file = get("file").unwrap_or_default();
    case.line = get("line").and_then(|text| text.trim().parse().ok());
    let lower = |name| get(name).unwrap_or_default().to_ascii_lowercase();
    case.status = match (lower("status").as_str(), lower("result").as_str()) {
        ("notrun" | "disabled", _) | (_, "suppressed") => Status::Disabled,
        ("skipped", _) | (_, "skipped") => Status::Skipped,
        _ => Status::Passed,
    };
    let mut attributes = start.attributes();
    attributes.with_checks(false);
    for attribute in attributes.flatten().filter(|attribute| !KNOWN.contains(&attribute.key.0)) {
        case.properties.push((attribute.key.0.to_owned(), value(&attribute.value)));
    }
    case
}

/// `0.`, `1.5`, `1,234.5`, `0,35`, `0.035s`.
fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim().trim_end_matches('s').trim_end();
    let normal = match text.split_once(',') {
        None => text.to_owned(),
        // With a point the comma groups thousands, and so it does before exactly three digits, unless nothing or
        // a zero stands before it.
        Some((whole, rest)) if text.contains('.') || (rest.len() % 4 == 3 && !matches!(whole, "" | "0")) => {
            text.replace(',', "")
        }
        Some(_) => text.replacen(',', ".", 1),
    };
    Duration::try_from_secs_f64(normal.parse().ok()?).ok()
}

#[cfg(test)]
mod tests;
