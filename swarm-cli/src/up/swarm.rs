//! The processes of a swarm: started in order, watched, stopped in the opposite order.

use super::{EndedEarly, Layout, Process, Programs};
use anyhow::Context as _;
use bytesize::ByteSize;
use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

/// How long tasks may go on when the swarm is stopped.
const BOT_DRAIN: Duration = Duration::from_secs(2);

/// How long bots get to stop their tasks and say goodbye.
const BOT_GRACE: Duration = Duration::from_secs(20);

/// How long a server gets to finish what it accepted.
const SERVER_GRACE: Duration = Duration::from_secs(15);

/// Where servers listen when they are left to choose and the port is free.
const CAS_PORT: u16 = 8980;
const SCHEDULER_PORT: u16 = 8990;

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) bots: u32,
    /// `None`: the bots' default.
    pub(crate) slots: Option<u32>,
    /// Each `KEY=VALUE`, for every bot.
    pub(crate) dimensions: Vec<String>,
    /// `None`: the usual port, or any when that is taken.
    pub(crate) cas_listen: Option<SocketAddr>,
    /// `None`: the usual port, or any when that is taken.
    pub(crate) scheduler_listen: Option<SocketAddr>,
    /// `None`: the CAS's default.
    pub(crate) cas_size: Option<ByteSize>,
}

/// A swarm that is starting, up or stopping.
#[derive(Debug)]
pub(crate) struct Swarm {
    layout: Layout,
    cas: Option<Process>,
    scheduler: Option<Process>,
    bots: Vec<Process>,
}

/// Where a swarm's servers are.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    pub(crate) cas: String,
    pub(crate) scheduler: String,
}

impl Swarm {
    /// Without processes.
    pub(crate) fn new(layout: Layout) -> Self {
        Self { layout, cas: None, scheduler: None, bots: Vec::new() }
    }

    /// Starts everything and waits until all of it says that it is ready. What was started stays when this fails or is
    /// dropped: stop it.
    pub(crate) async fn start(&mut self, plan: &Plan, programs: &Programs) -> anyhow::Result<Urls> {
        let layout = &self.layout;
        let start = |name: &str, program, args| Process::start(name, program, args, layout.fresh_log(name)?);
        let cas = |listen: SocketAddr| {
            let mut args = vec![flag("listen", listen), data(layout, "cas")];
            args.extend(plan.cas_size.map(|size| flag("max-size", format!("{}B", size.as_u64()))));
            start("cas-server", &programs.cas_server, args)
        };
        let cas = server(&mut self.cas, plan.cas_listen, CAS_PORT, cas).await?;
        let scheduler = |listen: SocketAddr| {
            let args = vec![flag("listen", listen), data(layout, "scheduler"), flag("cas", &cas)];
            start("scheduler", &programs.scheduler, args)
        };
        let scheduler = server(&mut self.scheduler, plan.scheduler_listen, SCHEDULER_PORT, scheduler).await?;

        let urls = Urls { cas, scheduler };
        for number in 1..=plan.bots {
            let id = format!("bot-{number}");
            let args = bot_args(plan, &urls, layout, &id);
            self.bots.push(start(&id, &programs.bot, args)?);
        }
        for bot in &mut self.bots {
            let prefix = format!("bot {} ready", bot.name());
            bot.ready(&prefix).await?;
        }
        Ok(urls)
    }

    /// The directory that it lives in.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The names of its bots.
    pub(crate) fn bots(&self) -> impl Iterator<Item = &str> {
        self.bots.iter().map(Process::name)
    }

    /// Waits for one of its processes to end.
    pub(crate) async fn broken(&mut self) -> anyhow::Result<EndedEarly> {
        let processes = self.cas.iter_mut().chain(&mut self.scheduler).chain(&mut self.bots);
        let mut ends: FuturesUnordered<_> = processes.map(Process::ended).collect();
        match ends.next().await {
            Some(ended) => ended.context("cannot watch a process"),
            None => std::future::pending().await,
        }
    }

    /// Stops bots, then the scheduler, then the CAS: whoever still has something to say has somebody to say it to.
    pub(crate) async fn stop(&mut self) {
        self.bots.iter().for_each(Process::terminate);
        join_all(self.bots.iter_mut().map(|bot| bot.reap(BOT_GRACE))).await;
        for server in self.scheduler.iter_mut().chain(&mut self.cas) {
            server.terminate();
            server.reap(SERVER_GRACE).await;
        }
    }

    /// Ends everything at once.
    pub(crate) async fn kill(&mut self) {
        let mut processes: Vec<_> =
            self.bots.iter_mut().chain(&mut self.scheduler).chain(&mut self.cas).collect();
        processes.iter().for_each(|process| process.kill());
        join_all(processes.iter_mut().map(|process| process.reap(SERVER_GRACE))).await;
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> OsString {
    format!("--{name}={value}").into()
}

fn data(layout: &Layout, name: &str) -> OsString {
    let mut argument = OsString::from("--data=");
    argument.push(layout.data(name));
    argument
}

fn bot_args(plan: &Plan, urls: &Urls, layout: &Layout, id: &str) -> Vec<OsString> {
    let mut args = vec![
        flag("scheduler", &urls.scheduler),
        flag("cas", &urls.cas),
        flag("id", id),
        data(layout, &format!("bots/{id}")),
        flag("drain-timeout", format!("{}s", BOT_DRAIN.as_secs())),
    ];
    args.extend(plan.slots.map(|slots| flag("slots", slots)));
    args.extend(plan.dimensions.iter().map(|dimension| flag("dimension", dimension)));
    args
}

/// Starts a server, and gives its URL when it is ready.
async fn server(
    process: &mut Option<Process>,
    asked: Option<SocketAddr>,
    usual: u16,
    start: impl Fn(SocketAddr) -> anyhow::Result<Process>,
) -> anyhow::Result<String> {
    let address = listen(asked, usual);
    let ready = process.insert(start(address)?).listening().await;
    let again = listen(asked, usual);
    match ready {
        // Somebody has taken the usual port since we looked.
        Err(_) if again != address => process.insert(start(again)?).listening().await,
        ready => ready,
    }
}

/// The address that was asked for; else the usual one when it is free, and a free one when it is not.
fn listen(asked: Option<SocketAddr>, usual: u16) -> SocketAddr {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    asked.unwrap_or_else(|| match TcpListener::bind(local(usual)) {
        Ok(_) => local(usual),
        Err(_) => local(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_unless_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let holder = TcpListener::bind(taken).unwrap();
        assert_eq!(listen(None, taken.port()).port(), 0);
        assert_eq!(listen(Some(taken), 1), taken);
        drop(holder);
        assert_eq!(listen(None, taken.port()), taken);
    }
}
