//! Rows of figures: medians, and whether they are what they should be.

/// What a figure is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// For comparison only.
    None,
}

/// Measurements by what they are of.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: &'static str,
    unit: &'static str,
    target: Target,
    rounds: Vec<f64>,
}

impl Table {
    /// Takes one measurement down.
    pub(crate) fn note(&mut self, what: &'static str, value: f64, unit: &'static str, target: Target) {
        match self.rows.iter_mut().find(|row| row.what == what) {
            Some(row) => row.rounds.push(value),
            None => self.rows.push(Row { what, unit, target, rounds: vec![value] }),
        }
    }

    /// Prints the rows and forgets them.
    pub(crate) fn print(&mut self) {
        println!();
        for Row { what, unit, target, mut rounds } in self.rows.drain(..) {
            rounds.sort_unstable_by(f64::total_cmp);
            let value = rounds[rounds.len() / 2];
            let verdict = |met: bool| if met { "met" } else { "MISSED" };
            let verdict = match target {
                Target::AtLeast(least) => format!("(at least {least}) {}", verdict(value >= least)),
                Target::AtMost(most) => format!("(at most {most}) {}", verdict(value <= most)),
                Target::None => String::new(),
            };
            println!("{what:<78}{value:>10.2} {unit:<8} {verdict}");
        }
    }
}
