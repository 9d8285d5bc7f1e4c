//! The program `reapi-conformance`: asks a cache server of the Remote Execution API about every rule it should keep.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for terminals")]

use clap::Parser;
use runtime::{Exit, SystemEntropy};
use std::{path::PathBuf, time::Duration};
use tests::conformance::{Report, Server, Target, rules, run};

/// Tells for each rule of the Remote Execution API v2 whether a cache server keeps it.
///
/// Everything goes over the wire with the generated clients; what is uploaded is new each time, a few dozen MiB in all,
/// and nothing is deleted. A rule is skipped only when the server's own Capabilities say that it does not have the
/// feature, or when the port does not answer HTTP/1.1. The exit code is 0 when no rule failed, 1 when one did, 2 for a
/// wrong command line and 4 when the server does not answer.
#[derive(Parser)]
#[command(name = "reapi-conformance")]
struct Arguments {
    /// The server: HOST:PORT, or a URL of http, https, grpc or grpcs.
    #[arg(required_unless_present = "list")]
    address: Option<String>,
    /// Instance name for the calls that do not test instance names.
    #[arg(long, default_value = "", value_name = "NAME")]
    instance: String,
    /// Only the rules whose id begins like this, for instance `read.` or `write.zstd`.
    #[arg(long, default_value = "", value_name = "PREFIX")]
    only: String,
    /// Prints one JSON document in place of the lines.
    #[arg(long)]
    json: bool,
    /// Prints the rules with their sources, and ends.
    #[arg(long)]
    list: bool,
    /// PEM file of the certificates to trust, for a server that speaks TLS.
    #[arg(long, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
    /// Seconds that the server may take for one call.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    timeout: u64,
}

#[tokio::main]
async fn main() -> Exit {
    let arguments = Arguments::parse();
    if rules(&arguments.only).next().is_none() {
        eprintln!("error: no rule begins with `{}`: --list shows them", arguments.only);
        return Exit::Usage;
    }
    let Some(address) = arguments.address.clone().filter(|_| !arguments.list) else {
        for rule in rules(&arguments.only) {
            println!("{:<34} {}\n{:<34} {}", rule.id, rule.says, "", rule.source);
        }
        return Exit::Success;
    };
    let Arguments { instance, ca_cert, timeout, .. } = &arguments;
    let target = Target {
        address,
        instance: instance.clone(),
        ca_cert: ca_cert.clone(),
        deadline: Duration::from_secs(*timeout),
    };
    match Server::connect(target, SystemEntropy::shared()).await {
        Ok(server) => ask(&server, &arguments).await,
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::Unavailable
        }
    }
}

async fn ask(server: &Server, arguments: &Arguments) -> Exit {
    let report = run(server, rules(&arguments.only), |rule, verdict| {
        if !arguments.json {
            println!("{}", Report::describe(rule, verdict));
        }
    })
    .await;
    if arguments.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("error: {error}");
                return Exit::Internal;
            }
        }
    } else {
        println!("\n{report}");
    }
    if report.failed() == 0 { Exit::Success } else { Exit::TestsFailed }
}
