//! Tables of text: aligned columns, two spaces apart, no lines; as wide as the page at most, where that can be had.

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
    /// Columns of the highest rank go first when the page is too narrow; those of rank 0 stay.
    rank: u8,
    /// Rather wraps than lose its end.
    whole: bool,
}

/// What text is laid out on.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Colours, or none.
    pub paint: Paint,
    /// In characters. `None`: any.
    pub width: Option<usize>,
}

impl Page {
    /// As wide as it takes, without colours.
    pub const PLAIN: Self = Self { paint: Paint::Plain, width: None };
}

/// Between columns.
const GAP: usize = 2;

/// Text is not cut to less.
const MIN_TEXT: usize = 12;

impl Column {
    /// Of text.
    pub const fn text(title: &'static str) -> Self {
        Self { title, align: Align::Left, rank: 0, whole: false }
    }

    /// Of numbers.
    pub const fn number(title: &'static str) -> Self {
        Self { title, align: Align::Right, rank: 0, whole: true }
    }

    /// Left out on narrow pages, those of a higher rank first.
    pub const fn minor(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    /// Never cut: for what people copy, or look for.
    pub const fn whole(self) -> Self {
        Self { whole: true, ..self }
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
    pub fn render(&self, page: Page) -> String {
        let shown = self.layout(page.width.unwrap_or(usize::MAX));
        let titles = self.columns.iter().map(|c| Cell::styled(c.title, Style::new().bold())).collect();
        let mut out = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut line = String::new();
            for (n, &(column, width)) in shown.iter().enumerate() {
                let cell = row.get(column).cloned().unwrap_or_default();
                let text = shortened(&cell.text, width);
                let padding = " ".repeat(width.saturating_sub(text.chars().count()));
                let painted =
                    if text.is_empty() { String::new() } else { page.paint.styled(cell.style, &text) };
                line.push_str(&" ".repeat(if n == 0 { 0 } else { GAP }));
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

    /// Which columns are shown, and how wide: minor ones are left out and long texts are cut until the line fits.
    fn layout(&self, most: usize) -> Vec<(usize, usize)> {
        let worth_it =
            |&c: &usize| self.rows.is_empty() || self.rows.iter().any(|row| !text(row, c).is_empty());
        let width = |c: usize| {
            let cells = self.rows.iter().map(|row| text(row, c));
            cells.chain([self.columns[c].title]).map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let mut shown: Vec<(usize, usize)> =
            (0..self.columns.len()).filter(worth_it).map(|c| (c, width(c))).collect();
        let excess = |shown: &[(usize, usize)]| {
            let widths: usize = shown.iter().map(|(_, width)| width + GAP).sum();
            widths.saturating_sub(GAP).saturating_sub(most)
        };
        while excess(&shown) > 0 {
            let rank = |at: &usize| self.columns[shown[*at].0].rank;
            let least = (0..shown.len()).max_by_key(rank).filter(|at| rank(at) > 0);
            let Some(least) = least else { break };
            shown.remove(least);
        }
        while excess(&shown) > 0 {
            let texts = (0..shown.len()).filter(|&at| !self.columns[shown[at].0].whole);
            let Some(widest) = texts.max_by_key(|&at| shown[at].1).filter(|&at| shown[at].1 > MIN_TEXT)
            else {
                break;
            };
            shown[widest].1 = shown[widest].1.saturating_sub(excess(&shown)).max(MIN_TEXT);
        }
        shown
    }
}

/// The text, or its beginning and `…`.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
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
        insta::assert_snapshot!(table.render(Page::PLAIN), @r"
        name    size
        a        1 B
        größer  10 B
        ");
        let colored = table.render(Page { paint: Paint::Colored, ..Page::PLAIN });
        assert!(colored.contains("\u{1b}[1m\u{1b}[31mgrößer\u{1b}[0m"), "{colored}");
    }

    #[test]
    fn a_narrow_page_has_fewer_columns_and_shorter_texts() {
        let mut table = Table::new([
            Column::text("name"),
            Column::number("cold").minor(2),
            Column::number("queue").minor(1),
            Column::text("dimensions"),
        ]);
        table.row(vec!["bot-1".into(), "1 B".into(), "2s".into(), "cores=2 cpu=x86-64 os=Linux".into()]);
        let on = |width| table.render(Page { width: Some(width), ..Page::PLAIN });
        let mut ids = Table::new([Column::text("id").whole()]);
        ids.row(vec!["1hf7yat000007/0/0".into()]);
        assert!(ids.render(Page { width: Some(5), ..Page::PLAIN }).contains("1hf7yat000007/0/0"));
        assert_eq!(on(47), table.render(Page::PLAIN));
        insta::assert_snapshot!(format!("{}{}{}{}", on(46), on(40), on(30), on(5)), @r"
        name   queue  dimensions
        bot-1     2s  cores=2 cpu=x86-64 os=Linux
        name   dimensions
        bot-1  cores=2 cpu=x86-64 os=Linux
        name   dimensions
        bot-1  cores=2 cpu=x86-64 os=…
        name   dimensions
        bot-1  cores=2 cpu…
        ");
    }
}
