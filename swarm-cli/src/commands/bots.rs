//! `swarm bots`: who works.

use super::Context;
use crate::{
    cli::SchedulerArgs,
    display::{Cell, Column, Table, ago},
    json::BotJson,
    model::{Bot, BotHealth, BotState},
    remote::{BotFilter, Scheduler},
};
use clap::Args;
use proto::{Requirement, Requirements, Timestamp};
use runtime::Exit;

/// List the bots that the scheduler knows
#[derive(Debug, Args)]
#[command(after_help = "Example: swarm bots --state idle -d os=Linux")]
pub(crate) struct BotsArgs {
    /// Only bots that fit (repeat: all must hold)
    #[arg(short, long = "dimension", value_name = "KEY=VALUE[|VALUE]")]
    dimensions: Vec<Requirement>,
    /// Only bots in this state (repeat: any of them)
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<BotState>,
    /// At most this many; without it all of them
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page: String,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scheduler: SchedulerArgs,
}

pub(crate) async fn bots(context: &Context, args: BotsArgs) -> anyhow::Result<Exit> {
    let scheduler = args.scheduler.connect(context)?;
    let mut requirements = Requirements::default();
    for requirement in args.dimensions {
        requirements.insert(requirement)?;
    }
    let filter = BotFilter { requirements, states: args.states };
    let (bots, next_page) = list(&scheduler, &filter, args.limit.unwrap_or(u32::MAX), args.page).await?;
    let console = &context.console;
    if args.json {
        let bots: Vec<_> = bots.iter().map(BotJson::from).collect();
        console.print(serde_json::to_string_pretty(&bots)? + "\n");
    } else if bots.is_empty() {
        if filter.states.is_empty() && filter.requirements.iter().next().is_none() {
            console.note("no bots: start one with `bot --scheduler URL --cas URL`");
        } else {
            console.note("no such bots");
        }
    } else {
        console.print(table(&bots, context.clock.now()).render(console.page()));
    }
    if let Some(token) = next_page {
        console.note(format!("there are more: go on with --page {token}"));
    }
    Ok(Exit::Success)
}

/// As many pages as it takes.
async fn list(
    scheduler: &Scheduler,
    filter: &BotFilter,
    limit: u32,
    page: String,
) -> anyhow::Result<(Vec<Bot>, Option<String>)> {
    const MAX_PAGE: u32 = 1000;
    let mut bots = Vec::new();
    let mut next = Some(page);
    while let Some(token) = &next {
        let wanted = limit.saturating_sub(u32::try_from(bots.len()).unwrap_or(u32::MAX));
        if wanted == 0 {
            break;
        }
        let (page, following) = scheduler.bots(filter, wanted.min(MAX_PAGE), token).await?;
        bots.extend(page);
        next = following;
    }
    Ok((bots, next))
}

fn table(bots: &[Bot], now: Timestamp) -> Table {
    let mut table = Table::new([
        Column::text("bot").whole(),
        Column::text("state"),
        Column::number("busy"),
        Column::text("last seen"),
        Column::text("dimensions").whole(),
        Column::text("why"),
    ]);
    for bot in bots {
        let dimensions = bot
            .dimensions
            .iter()
            .filter(|(key, _)| *key != "id")
            .map(|(key, values)| format!("{key}={}", values.join("|")));
        table.row(vec![
            bot.id.as_str().into(),
            match bot.health {
                BotHealth::Alive => Cell::green("alive"),
                BotHealth::Draining => Cell::yellow("draining"),
                BotHealth::Quarantined => Cell::red("quarantined"),
                BotHealth::Maintenance => Cell::yellow("maintenance"),
                BotHealth::Terminating => Cell::yellow("terminating"),
                BotHealth::Dead => Cell::red("dead"),
            },
            format!("{}/{}", bot.running.len(), bot.slots).into(),
            bot.last_seen.map(|seen| ago(seen, now)).unwrap_or_default().into(),
            dimensions.collect::<Vec<_>>().join(" ").into(),
            [bot.message.as_str(), &bot.notice].join(" ").trim().to_owned().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::Page;

    #[test]
    fn bots_are_listed_with_what_they_are() {
        let mut dimensions = proto::Dimensions::default();
        for (key, value) in [("id", "a"), ("os", "Debian"), ("os", "Linux"), ("pool", "ci")] {
            dimensions.insert(key, value).unwrap();
        }
        let now = Timestamp::from_micros(1_000_000_000);
        let bot = |id: &str, health, last_seen| Bot {
            id: id.into(),
            dimensions: dimensions.clone(),
            version: "1".into(),
            slots: 2,
            running: vec!["0000000000000/0/0".parse().unwrap()],
            first_seen: None,
            last_seen: Some(last_seen),
            health,
            message: String::new(),
            notice: String::new(),
            state: serde_json::Value::Null,
        };
        let old = Timestamp::from_micros(700_000_000);
        let unfit = Bot {
            message: "only 5 MiB are free".into(),
            notice: "an update failed".into(),
            ..bot("c", BotHealth::Quarantined, now)
        };
        let text = table(&[unfit], now).render(Page::PLAIN);
        assert!(
            text.contains("quarantined") && text.contains("only 5 MiB are free an update failed"),
            "{text}"
        );
        let table = table(&[bot("a", BotHealth::Alive, now), bot("long-name", BotHealth::Dead, old)], now);
        insta::assert_snapshot!(table.render(Page::PLAIN), @r"
        bot        state  busy  last seen  dimensions
        a          alive   1/2  just now   os=Debian|Linux pool=ci
        long-name  dead    1/2  5m ago     os=Debian|Linux pool=ci
        ");
    }
}
