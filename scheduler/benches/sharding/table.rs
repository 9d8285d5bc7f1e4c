//! Figures beside what they should be.

/// Heads the columns of ours and of all baselines.
pub(crate) fn head(title: &str, baselines: &[(&str, crate::baselines::Baseline)]) {
    print!("\n{title}\n{:<40}{:>8}{:>9}{:>8}{:>16}", "", "pull", "process", "target", "");
    for (name, _) in baselines {
        print!("{name:>9}");
    }
    println!();
}

/// Both of ours (pulling tests, starting processes) are to be at most `target`.
pub(crate) fn row(what: &str, ours: f64, process: f64, target: Option<f64>, baselines: &[f64]) {
    print!("{what:<40}{ours:>8.3}{process:>9.3}");
    match target {
        Some(target) => print!("{target:>8.2}{:>16}", both([ours, process].map(|value| value <= target))),
        None => print!("{:>24}", ""),
    }
    for baseline in baselines {
        print!("{baseline:>9.2}");
    }
    println!();
}

/// Heads the columns of both modes, replayed and simulated.
pub(crate) fn pair_head() {
    let columns = ["pull", "simul.", "process", "simul.", "target"];
    println!("{:<56}{}", "", columns.map(|column| format!("{column:>9}")).concat());
}

/// What both modes came to, beside what the simulator says.
pub(crate) fn pair(what: &str, modes: [(f64, Option<f64>); 2], target: Option<f64>) {
    print!("{what:<56}");
    for (real, simulated) in modes {
        print!("{real:>9.3}{:>9}", simulated.map_or(String::new(), |simulated| format!("{simulated:.3}")));
    }
    match target {
        Some(target) => println!("{target:>9.2} {}", both(modes.map(|(real, _)| real <= target))),
        None => println!(),
    }
}

/// Whether each of two modes has met its target.
fn both(met: [bool; 2]) -> String {
    met.map(verdict).join(", ")
}

/// A figure alone.
pub(crate) fn figure(what: &str, value: f64, unit: &str, target: f64) {
    println!("{what:<56}{value:>10.3} {unit:<5}{target:>8.2} {}", verdict(value <= target));
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

pub(crate) fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}
