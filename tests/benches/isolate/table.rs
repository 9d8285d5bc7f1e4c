//! Rows of measurements by round: medians, ratios, and whether those are what they should be.

use super::measure::Took;

/// One comparison.
#[derive(Debug)]
pub(crate) struct Row {
    what: &'static str,
    against: &'static str,
    /// The ratio of wall times is to be at most this, if it is to be anything.
    most: Option<f64>,
    rounds: Vec<(Took, Took)>,
}

impl Row {
    pub(crate) fn new(what: &'static str, against: &'static str, most: f64) -> Self {
        Self { what, against, most: Some(most), rounds: Vec::new() }
    }

    /// One that is of interest only.
    pub(crate) fn aside(what: &'static str, against: &'static str) -> Self {
        Self { what, against, most: None, rounds: Vec::new() }
    }

    /// Takes one round down.
    pub(crate) fn note(&mut self, ours: Took, baseline: Took) {
        self.rounds.push((ours, baseline));
    }
}

/// What stands above the rows.
pub(crate) fn head(title: &str) {
    println!("\n{title}");
    println!(
        "{:<44}{:>9}{:>9}   {:<32}{:>9}{:>9}   ratio of times (target), of processor time",
        "", "s", "cpu s", "beside", "s", "cpu s"
    );
}

/// Prints the medians of a row. The processor time of ours has that of the server in it, and holds on a busy machine.
pub(crate) fn print(row: &Row) {
    let middle = |pick: fn(&(Took, Took)) -> f64| median(row.rounds.iter().map(pick).collect());
    let (ours, theirs) = (middle(|(ours, _)| ours.wall), middle(|(_, theirs)| theirs.wall));
    let (our_cpu, their_cpu) = (middle(|(ours, _)| ours.cpu), middle(|(_, theirs)| theirs.cpu));
    let ratio = ours / theirs;
    let verdict = row.most.map_or("(-)".into(), |most| format!("({most}) {}", verdict(ratio <= most)));
    println!(
        "{:<44}{ours:>9.3}{our_cpu:>9.3}   {:<32}{theirs:>9.3}{their_cpu:>9.3}   {ratio:.2} {verdict}, {:.2}",
        row.what,
        row.against,
        our_cpu / their_cpu,
    );
}

/// A figure that is to be at most `most`.
pub(crate) fn figure(what: &str, value: f64, most: f64, unit: &str) {
    println!("{what:<70}{value:>12.1} {unit} ({most:.1}) {}", verdict(value <= most));
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() / 2]
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
