//! Colours, or none, and text that has them.

use anstyle::{AnsiColor, Style};

/// Whether text gets colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// It does not.
    Plain,
    /// It does.
    Colored,
}

impl Paint {
    /// Good news.
    pub fn green(self, text: &str) -> String {
        self.styled(AnsiColor::Green.on_default(), text)
    }

    /// Bad news.
    pub fn red(self, text: &str) -> String {
        self.styled(AnsiColor::Red.on_default().bold(), text)
    }

    /// No news, or news of doubtful worth.
    pub fn yellow(self, text: &str) -> String {
        self.styled(AnsiColor::Yellow.on_default(), text)
    }

    /// What goes on.
    pub fn cyan(self, text: &str) -> String {
        self.styled(AnsiColor::Cyan.on_default(), text)
    }

    /// What matters.
    pub fn bold(self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// What matters less.
    pub fn dim(self, text: &str) -> String {
        self.styled(Style::new().dimmed(), text)
    }

    /// Ends whatever style somebody else has begun.
    pub fn reset(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Colored => "\u{1b}[0m",
        }
    }

    /// In any style.
    pub fn styled(self, style: Style, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colored => format!("{style}{text}{style:#}"),
        }
    }
}

/// The beginning of a painted line, as wide as this, and what ends its colours.
pub fn cut(line: &str, width: usize) -> String {
    const STYLE: char = '\u{1b}';
    let mut out = String::with_capacity(line.len());
    let (mut shown, mut in_style) = (0, false);
    for char in line.chars() {
        if in_style || char == STYLE {
            in_style = char != 'm';
        } else if shown == width {
            continue;
        } else {
            shown += 1;
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_keeps_no_colour_on() {
        let line = format!("{} and {}", Paint::Colored.red("fail"), Paint::Colored.dim("more"));
        assert_eq!(cut(&line, 100), line);
        assert_eq!(cut(&line, 3), "\u{1b}[1m\u{1b}[31mfai\u{1b}[0m\u{1b}[2m\u{1b}[0m");
        assert_eq!(cut("größer", 3), "grö");
    }
}
