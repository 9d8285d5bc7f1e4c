//! Running the rules.

use super::{Report, Rule, Server, Verdict, groups::GROUPS};
use std::time::Duration;

/// No rule takes longer, however many calls it makes.
const RULE_DEADLINE: Duration = Duration::from_secs(120);

/// Every rule whose id begins with `prefix`.
pub fn rules(prefix: &str) -> impl Iterator<Item = &'static Rule> {
    GROUPS.iter().copied().flatten().filter(move |rule| rule.id.starts_with(prefix))
}

/// Asks about these rules, one after the other, and tells `each` as soon as one is known.
pub async fn run(
    server: &Server,
    rules: impl Iterator<Item = &'static Rule>,
    mut each: impl FnMut(&'static Rule, &Verdict),
) -> Report {
    let mut report = Report::new(server.address(), server.instance());
    for rule in rules {
        let verdict = judge(server, rule).await;
        each(rule, &verdict);
        report.add(rule, verdict);
    }
    report
}

async fn judge(server: &Server, rule: &Rule) -> Verdict {
    if let Some(reason) = rule.needs.iter().find_map(|needs| needs.lacking(server)) {
        return Verdict::Skip { reason };
    }
    match tokio::time::timeout(RULE_DEADLINE, (rule.check)(server)).await {
        Ok(Ok(())) => Verdict::Pass,
        Ok(Err(mismatch)) => Verdict::Fail { expected: mismatch.expected, seen: mismatch.seen },
        Err(_) => Verdict::Fail {
            expected: "an end of the check".to_owned(),
            seen: format!("none within {RULE_DEADLINE:?}"),
        },
    }
}
