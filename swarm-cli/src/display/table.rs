//! Tables of text: aligned columns, two spaces apart, no lines.

use super::Paint;
use anstyle::{AnsiColor, Style};

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    align: Align,
}

impl Column {
    /// Of text.
    pub const fn text(title: &'static str) -> Self {
        Self { title, align: Align::Left }
    }

    /// Of numbers.
    pub const fn number(title: &'static str) -> Self {
        Self { title, align: Align::Right }
    }
}

/// One field.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// In a style.
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }

    /// Good news.
    pub fn green(text: impl Into<String>) -> Self {
        Self::styled(text, AnsiColor::Green.on_default())
    }

    /// Bad news.
    pub fn red(text: impl Into<String>) -> Self {
        Self::styled(text, AnsiColor::Red.on_default().bold())
    }

    /// No news.
    pub fn yellow(text: impl Into<String>) -> Self {
        Self::styled(text, AnsiColor::Yellow.on_default())
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

/// Rows of fields under titles.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Without rows.
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row; fields that are left out are empty.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines. Columns that are empty in every row are left out, unless there is no row at all.
    pub fn render(&self, paint: Paint) -> String {
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|&c| self.rows.is_empty() || self.rows.iter().any(|row| !text(row, c).is_empty()))
            .collect();
        let width = |c: usize| {
            let cells = self.rows.iter().map(|row| text(row, c));
            cells.chain([self.columns[c].title]).map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = shown.iter().map(|&c| width(c)).collect();
        let titles = self.columns.iter().map(|c| Cell::styled(c.title, Style::new().bold())).collect();
        let mut out = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut line = String::new();
            for (&column, &width) in shown.iter().zip(&widths) {
                let cell = row.get(column).cloned().unwrap_or_default();
                let padding = " ".repeat(width.saturating_sub(cell.text.chars().count()));
                let painted =
                    if cell.text.is_empty() { String::new() } else { paint.styled(cell.style, &cell.text) };
                line.push_str(if line.is_empty() { "" } else { "  " });
                line.push_str(&match self.columns[column].align {
                    Align::Left => painted + &padding,
                    Align::Right => padding + &painted,
                });
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn text(row: &[Cell], column: usize) -> &str {
    row.get(column).map_or("", |cell| cell.text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table = Table::new([Column::text("name"), Column::text("note"), Column::number("size")]);
        table.row(vec!["a".into(), "".into(), "1 B".into()]);
        table.row(vec![Cell::red("größer"), "".into(), "10 B".into()]);
        insta::assert_snapshot!(table.render(Paint::Plain), @r"
        name    size
        a        1 B
        größer  10 B
        ");
        assert!(table.render(Paint::Colored).contains("\u{1b}[1m\u{1b}[31mgrößer\u{1b}[0m"));
    }
}
