//! The table: medians of what was measured, their ratios, and whether those are what they should be.

use std::collections::BTreeMap;

/// Who was measured. What stands in the last column differs by row: see [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    Ours,
    Casd,
    Ceiling,
    /// nginx, the bare echo.
    Other,
    /// The disk's own write + fsync.
    Disk,
}

const COLUMNS: [(Column, &str); 5] = [
    (Column::Ours, "ours"),
    (Column::Casd, "casd"),
    (Column::Ceiling, "ceiling"),
    (Column::Other, "nginx/echo"),
    (Column::Disk, "disk"),
];

/// What a row is to reach, against the lowest of some columns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64, &'static [Column]),
    AtMost(f64, &'static [Column]),
}

/// One line of the table for each number of calls at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) targets: &'static [Target],
}

/// Measurements by row and column.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<(Case, usize, BTreeMap<Column, Vec<f64>>)>,
}

/// The middle of several measurements.
pub(crate) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Whether a figure is what it should be, as the table says it.
pub(crate) fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

impl Table {
    /// Takes a measurement down.
    pub(crate) fn note(&mut self, case: Case, concurrency: usize, column: Column, value: f64) {
        let same = |row: &&mut (Case, usize, _)| row.0.name == case.name && row.1 == concurrency;
        if let Some(row) = self.rows.iter_mut().find(same) {
            row.2.entry(column).or_default().push(value);
        } else {
            self.rows.push((case, concurrency, BTreeMap::from([(column, vec![value])])));
        }
    }

    /// Prints all rows, those of one case together.
    pub(crate) fn print(&self, title: &str) {
        println!("\n{title}");
        print!("{:<42}{:>3}", "", "at");
        COLUMNS.iter().for_each(|(_, name)| print!("{name:>11}"));
        println!("   ratio (target)");
        let mut rows: Vec<_> = self.rows.iter().collect();
        let first = |name| self.rows.iter().position(|row| row.0.name == name);
        rows.sort_by_key(|(case, concurrency, _)| (first(case.name), *concurrency));
        for (case, concurrency, samples) in rows {
            let medians: BTreeMap<Column, f64> =
                samples.iter().map(|(column, all)| (*column, median(all.clone()))).collect();
            print!("{:<42}{concurrency:>3}", case.name);
            for (column, _) in COLUMNS {
                let cell = medians.get(&column).map_or_else(|| "-".to_owned(), |value| figure(*value));
                print!("{cell:>11}");
            }
            let verdicts = case.targets.iter().filter_map(|target| target.judge(&medians));
            println!("   {}", verdicts.collect::<Vec<_>>().join("; "));
        }
    }
}

impl Target {
    fn judge(self, medians: &BTreeMap<Column, f64>) -> Option<String> {
        let (Self::AtLeast(bound, against) | Self::AtMost(bound, against)) = self;
        let ours = *medians.get(&Column::Ours)?;
        let measured = |column: &Column| Some((*medians.get(column)?, *column));
        let (lowest, column) = against.iter().filter_map(measured).min_by(|a, b| a.0.total_cmp(&b.0))?;
        let name = COLUMNS.iter().find(|(known, _)| *known == column).map_or("", |(_, name)| name);
        let ratio = ours / lowest;
        let met = match self {
            Self::AtLeast(..) => ratio >= bound,
            Self::AtMost(..) => ratio <= bound,
        };
        Some(format!("{ratio:.2} x {name} ({bound}) {}", verdict(met)))
    }
}

fn figure(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
