//! Regular expressions as CMake has them, in terms of the `regex` crate.
//!
//! CMake's have no counts, classes or flags: a backslash makes any character plain, and in brackets it is plain itself.

use regex::{Regex, RegexBuilder};

/// Bytes of memory for one.
const SIZE: usize = 1024 * 1024;

/// What CMake takes `text` for.
pub(super) fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&translate(text)).size_limit(SIZE).dot_matches_new_line(true).build()
}

fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.push_str(&regex::escape(&characters.next().unwrap_or('\\').to_string())),
            '{' | '}' => out.push_str(&regex::escape(&character.to_string())),
            '[' => {
                out.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A closing bracket that comes first is one of the set.
                let mut first = true;
                for character in characters.by_ref() {
                    match character {
                        ']' if !first => {
                            out.push(']');
                            break;
                        }
                        ']' | '[' | '\\' | '&' | '~' | '^' => out.extend(['\\', character]),
                        other => out.push(other),
                    }
                    first = false;
                }
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_they_mean_to_cmake() {
        for (expression, text, expected) in [
            ("^a.c$", "a\nc", true),
            ("a\\.c", "abc", false),
            ("\\d+", "d", true),
            ("\\d+", "5", false),
            ("x{2}", "x{2}", true),
            ("x{2}", "xx", false),
            ("[]x]", "]", true),
            ("[^a-c]+$", "abc", false),
            ("[\\.]", "\\", true),
            ("(ERROR|FAIL)[0-9]?", "an ERROR7", true),
            ("[a&&b]", "&", true),
        ] {
            assert_eq!(compile(expression).unwrap().is_match(text), expected, "{expression} {text}");
        }
        assert!(compile("(a").is_err());
    }
}
