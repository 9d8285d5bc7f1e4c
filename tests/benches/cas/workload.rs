//! A store that is full all the time: blobs of five times its budget, asked for as caches are, a few of them often and
//! most of them rarely. Who misses one uploads it.

use super::{
    blobs,
    drive::drive,
    peers::{Clients, Server},
    table::{median, verdict},
};
use proto::{bytestream::ReadRequest, reapi};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tonic::Code;

const BUDGET: u64 = 256 << 20;
const ACCESSES: usize = 30_000;
const CONCURRENCY: usize = 8;
/// Small enough for a batch call.
const SMALL: u64 = 1 << 20;

/// What is asked for, in order.
struct Plan {
    sizes: Vec<usize>,
    accesses: Vec<usize>,
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    /// Of each access.
    hits: Vec<bool>,
    errors: u64,
    rate: f64,
}

/// Prints the part of the table on eviction.
pub(crate) async fn bench() {
    let (mut lag, mut ratios, mut errors) = (Vec::new(), Vec::new(), 0);
    let mut shown = (0.0, 0.0);
    for round in 0..crate::rounds() {
        let plan = Arc::new(plan(round));
        // Uses must be over soon, or nothing could be evicted at the pace of this workload.
        let full = Server::ours(&["--max-size", "256MiB", "--lease", "50ms"]).await;
        let seen = play(&full.connect(CONCURRENCY), Arc::clone(&plan), None).await;
        drop(full);
        let roomy = Server::ours(&[]).await;
        let again = play(&roomy.connect(CONCURRENCY), Arc::clone(&plan), Some(seen.hits.clone())).await;
        let ratio =
            |hits: &[bool]| hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64 * 100.0;
        let (ours, exact) = (ratio(&seen.hits), ratio(&simulate(&plan)));
        shown = (ours, exact);
        lag.push(exact - ours);
        ratios.push(seen.rate / again.rate);
        errors += seen.errors + again.errors;
    }
    println!("\nworkload of 5 x the byte budget, Zipf-like; medians of {}", crate::rounds());
    let (ours, exact) = shown;
    let behind = median(lag);
    let text = format!(
        "{ours:>8.1} %  exact LRU {exact:.1} %: {behind:.1} points behind (2) {}",
        verdict(behind <= 2.0)
    );
    println!("{:<58}{text}", "hit ratio");
    println!("{:<58}{errors:>8}    (0) {}", "errors", verdict(errors == 0));
    let ratio = median(ratios);
    println!("{:<58}{ratio:>8.2} x the store that is not full (0.8) {}", "throughput", verdict(ratio >= 0.8));
}

fn plan(round: u64) -> Plan {
    let mut rng = StdRng::seed_from_u64(round);
    let mut uniform = move || f64::from(rng.next_u32()) / f64::from(u32::MAX);
    let (mut sizes, mut total) = (Vec::new(), 0);
    while total < 5 * BUDGET {
        let (least, most) = match uniform() {
            kind if kind < 0.70 => (1 << 10, 32 << 10),
            kind if kind < 0.99 => (32 << 10, 256 << 10),
            _ => (1 << 20, 3 << 20),
        };
        let size = least + ((most - least) as f64 * uniform()) as usize;
        sizes.push(size);
        total += size as u64;
    }
    // The nth most popular one is asked for in proportion to n^-0.9.
    let mut sum = 0.0;
    let cumulative: Vec<f64> = (1..=sizes.len())
        .map(|rank| {
            sum += (rank as f64).powf(-0.9);
            sum
        })
        .collect();
    let access = |_| {
        let at = uniform() * sum;
        cumulative.partition_point(|below| *below < at).min(sizes.len() - 1)
    };
    let accesses = (0..ACCESSES).map(access).collect();
    Plan { sizes, accesses }
}

/// What exact LRU with the whole budget for bytes of blobs would hit.
fn simulate(plan: &Plan) -> Vec<bool> {
    let (mut by_age, mut ages, mut used) = (BTreeMap::new(), HashMap::new(), 0);
    let access = |(now, &blob): (usize, &usize)| {
        let before = ages.insert(blob, now);
        by_age.insert(now, blob);
        if let Some(before) = before {
            by_age.remove(&before);
            return true;
        }
        used += plan.sizes[blob] as u64;
        while used > BUDGET {
            let Some((_, oldest)) = by_age.pop_first() else { break };
            ages.remove(&oldest);
            used -= plan.sizes[oldest] as u64;
        }
        false
    };
    plan.accesses.iter().enumerate().map(access).collect()
}

/// Does what the plan says. With `hits`, the same calls are made whatever the store has: what was missing then is looked for in
/// vain and written anew.
async fn play(clients: &Clients, plan: Arc<Plan>, hits: Option<Vec<bool>>) -> Outcome {
    let seen: Arc<Vec<AtomicU64>> = Arc::new((0..ACCESSES).map(|_| AtomicU64::new(0)).collect());
    let errors = Arc::new(AtomicU64::new(0));
    let (clients, outcomes, failed) = (clients.clone(), Arc::clone(&seen), Arc::clone(&errors));
    let mut written = vec![false; plan.sizes.len()];
    // The first upload of a blob is the one that is read later; others get a name of their own.
    let salts: Vec<u64> = plan
        .accesses
        .iter()
        .enumerate()
        .map(|(number, blob)| {
            let again = std::mem::replace(&mut written[*blob], true);
            let missed = hits.as_ref().is_some_and(|hits| !hits[number]);
            if again && missed { number as u64 + 1 } else { 0 }
        })
        .collect();
    let pace = drive(CONCURRENCY, ACCESSES, Duration::from_secs(300), move |worker, number| {
        let (clients, outcomes, failed) = (clients.clone(), Arc::clone(&outcomes), Arc::clone(&failed));
        let blob = plan.accesses[number];
        let blob = Blob::new(blob as u64, salts[number], plan.sizes[blob]);
        async move {
            let outcome = match blob.read(&clients, worker).await {
                Ok(()) => return outcomes[number].store(1, Ordering::Relaxed),
                Err(Code::NotFound) => blob.write(&clients, worker).await,
                Err(code) => Err(code),
            };
            failed.fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
        }
    })
    .await;
    let hits = seen.iter().map(|hit| hit.load(Ordering::Relaxed) == 1).collect();
    Outcome { hits, errors: errors.load(Ordering::Relaxed), rate: pace.rate }
}

struct Blob(reapi::BatchUpdateBlobsRequest);

impl Blob {
    fn new(number: u64, salt: u64, size: usize) -> Self {
        Self(blobs::batch(number << 20 | salt, 1, size))
    }

    fn digest(&self) -> reapi::Digest {
        blobs::names(&self.0).remove(0)
    }

    fn is_small(&self) -> bool {
        self.digest().size_bytes.cast_unsigned() < SMALL
    }

    async fn read(&self, clients: &Clients, worker: usize) -> Result<(), Code> {
        let digest = self.digest();
        let expected = &self.0.requests[0].data;
        let bytes = if self.is_small() {
            let answer = clients.cas(worker).batch_read_blobs(blobs::read(vec![digest])).await;
            let mut answer = answer.map_err(|status| status.code())?.into_inner();
            let blob = answer.responses.remove(0);
            let code = blob.status.map_or(0, |status| status.code);
            if code == 0 { Ok(blob.data) } else { Err(Code::from_i32(code)) }
        } else {
            let resource_name = format!("blobs/{}/{}", digest.hash, digest.size_bytes);
            let request = ReadRequest { resource_name, ..Default::default() };
            let messages = clients.streams(worker).read(request).await.map_err(|status| status.code())?;
            let (mut messages, mut bytes) = (messages.into_inner(), Vec::new());
            while let Some(message) = messages.message().await.map_err(|status| status.code())? {
                bytes.extend_from_slice(&message.data);
            }
            Ok(bytes.into())
        };
        // A wrong byte is an error like no other.
        if bytes? == *expected { Ok(()) } else { Err(Code::DataLoss) }
    }

    async fn write(&self, clients: &Clients, worker: usize) -> Result<(), Code> {
        if self.is_small() {
            let answer = clients.cas(worker).batch_update_blobs(self.0.clone()).await;
            let answer = answer.map_err(|status| status.code())?.into_inner();
            let code = answer.responses[0].status.as_ref().map_or(0, |status| status.code);
            return if code == 0 { Ok(()) } else { Err(Code::from_i32(code)) };
        }
        let data = self.0.requests[0].data.clone();
        let messages = blobs::upload(&self.digest(), data);
        clients.streams(worker).write(messages).await.map(drop).map_err(|status| status.code())
    }
}
