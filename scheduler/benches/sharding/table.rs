//! Figures beside what they should be.

/// Heads the columns of ours and of all baselines.
pub(crate) fn head(title: &str, baselines: &[(&str, crate::baselines::Baseline)]) {
    print!("\n{title}\n{:<40}{:>8}{:>9}{:>8}{:>8}", "", "ours", "process", "target", "");
    for (name, _) in baselines {
        print!("{name:>9}");
    }
    println!();
}

/// `ours` (pulling) is to be at most `target`.
pub(crate) fn row(what: &str, ours: f64, process: f64, target: Option<f64>, baselines: &[f64]) {
    print!("{what:<40}{ours:>8.3}{process:>9.3}");
    match target {
        Some(target) => print!("{target:>8.2}{:>8}", verdict(ours <= target)),
        None => print!("{:>16}", ""),
    }
    for baseline in baselines {
        print!("{baseline:>9.2}");
    }
    println!();
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
