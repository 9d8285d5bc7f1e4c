//! Pinned closures stay whole, whatever comes; and what is not kept is refused.

use super::{
    eviction::{MINUTE, Store, churn},
    *,
};
use crate::engine::{Cause, Pin, PinError, PinKind, PinMode, PinName, PinRequest, State};

const DAY: Duration = Duration::from_hours(24);

fn named(name: &str) -> PinName {
    name.parse().unwrap()
}

async fn pin(
    store: &Store,
    name: &str,
    closure: &[Digest],
    mode: PinMode,
    lifetime: Duration,
) -> Result<Pin, PinError> {
    let (root, kind) = (closure[0], PinKind::Isolated);
    let request = PinRequest { name: named(name), root, kind, closure: closure.to_vec(), lifetime };
    store.engine.pin(request, mode).await
}

/// Small and large blobs, a MiB in all.
async fn closure(store: &Store, seed: u64) -> Vec<Digest> {
    let mut digests = Vec::new();
    for at in 0..30 {
        let len = if at % 10 == 0 { 200_000 } else { 15_000 };
        digests.push(put(&store.engine, &blob((seed << 40) + at, len)).await);
    }
    digests
}

async fn missing(store: &Store, digests: &[Digest]) -> usize {
    // Not by asking the engine, which would be a use of them.
    store.engine.shared().index.get(digests).unwrap().iter().filter(|entry| entry.is_none()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_closure_is_whole_after_the_store_was_filled_many_times_over_and_goes_when_its_pin_ends() {
    let mut store = Store::new(8 * MIB);
    let (kept, loose, short) = (closure(&store, 1).await, closure(&store, 2).await, closure(&store, 3).await);
    pin(&store, "kept", &kept, PinMode::Create, 30 * DAY).await.unwrap();
    pin(&store, "short", &short, PinMode::Create, 2 * MINUTE).await.unwrap();
    churn(&store, 50_000).await;
    assert_eq!(missing(&store, &kept).await, 0);
    assert_eq!(missing(&store, &loose).await, loose.len());
    let explained = store.engine.explain(loose[0]).await.unwrap();
    assert!(
        matches!(explained.state, State::Missing { ending: Some(ending), .. } if ending.cause == Cause::Evicted),
        "{explained:?}"
    );
    let explained = store.engine.explain(kept[0]).await.unwrap();
    assert_eq!(explained.pins[0].name, named("kept"));
    assert!(matches!(explained.state, State::Present { .. }));
    assert_eq!(missing(&store, &short).await, short.len());
    store = store.reopen().await;
    assert_eq!(store.engine.pins().0.len(), 1, "the other one has expired");
    churn(&store, 40_000).await;
    assert_eq!(missing(&store, &kept).await, 0);
    for (at, digest) in kept.iter().enumerate() {
        assert_eq!(
            store.engine.get(*digest).await.unwrap(),
            blob((1 << 40) + at as u64, digest.size() as usize)
        );
    }
    let released = store.engine.release_pin(named("kept")).await;
    assert!(released.is_ok());
    churn(&store, 30_000).await;
    assert_eq!(missing(&store, &kept).await, kept.len());
    assert!(store.engine.shared().index.generations().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_pin_lives_longer_and_an_expired_one_is_no_more() {
    let store = Store::new(8 * MIB);
    let digests = closure(&store, 1).await;
    let first = pin(&store, "a", &digests, PinMode::Create, 10 * MINUTE).await.unwrap();
    assert_eq!((first.blobs, first.root), (30, digests[0]));
    store.clock.advance(9 * MINUTE);
    let renewed = store.engine.renew_pin(named("a"), 10 * MINUTE).await.unwrap();
    assert_eq!(renewed, Pin { expires: first.created + 19 * MINUTE, ..first.clone() });
    // As a client does whose first answer got lost.
    let again = pin(&store, "a", &digests, PinMode::Create, 20 * MINUTE).await.unwrap();
    assert_eq!(again, Pin { expires: first.created + 29 * MINUTE, ..first });
    store.clock.advance(20 * MINUTE);
    assert_eq!(store.engine.pins().0, []);
    let late = store.engine.renew_pin(named("a"), MINUTE).await.unwrap_err();
    assert!(matches!(late, PinError::NotFound { .. }), "{late}");
    let store = store.reopen().await;
    let created = pin(&store, "a", &digests[1..], PinMode::Create, MINUTE).await.unwrap();
    assert_eq!(created.blobs, 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_keeps_the_old_closure_until_the_new_one_is_safe() {
    let store = Store::new(8 * MIB);
    let (old, new) = (closure(&store, 1).await, closure(&store, 2).await);
    let absent = DigestFunction::Blake3.digest(b"never written");
    pin(&store, "nightly", &old, PinMode::Create, 30 * DAY).await.unwrap();
    let incomplete = pin(&store, "nightly", &[new[0], absent], PinMode::Swap, 30 * DAY).await.unwrap_err();
    assert!(
        matches!(&incomplete, PinError::Incomplete { count: 1, example } if **example == absent),
        "{incomplete}"
    );
    assert_eq!(store.engine.pins().0[0].root, old[0]);
    pin(&store, "nightly", &new, PinMode::Swap, 30 * DAY).await.unwrap();
    let store = store.reopen().await;
    churn(&store, 50_000).await;
    assert_eq!((missing(&store, &new).await, missing(&store, &old).await), (0, old.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_pinned_is_refused_with_the_reason() {
    let store = Store::new(8 * MIB);
    let (one, two) = (closure(&store, 1).await, closure(&store, 2).await);
    let large = put_stream(&store.engine, &blob(1 << 50, 3 << 20)).await.unwrap();
    pin(&store, "a", &one, PinMode::Create, DAY).await.unwrap();
    let exists = pin(&store, "a", &two, PinMode::Create, DAY).await.unwrap_err();
    assert!(exists.to_string().contains(&one[0].to_string()), "{exists}");
    let nothing = pin(&store, "b", &two, PinMode::Swap, DAY).await.unwrap_err();
    assert!(matches!(nothing, PinError::NotFound { .. }), "{nothing}");
    let quota = pin(&store, "b", &[two[0], large], PinMode::Create, DAY).await.unwrap_err();
    assert!(matches!(quota, PinError::Quota { quota, .. } if quota == 4 * MIB), "{quota}");
    assert!(quota.to_string().contains("--pin-quota"));
    // What gives way does not count.
    pin(&store, "a", &[large], PinMode::Swap, DAY).await.unwrap();
    assert!(matches!(store.engine.release_pin(named("b")).await, Err(PinError::NotFound { .. })));
    for name in ["", "two words", "ä", &"x".repeat(129)] {
        assert!(matches!(name.parse::<PinName>(), Err(PinError::Name)));
    }
    assert_eq!(store.engine.shared().index.generations().unwrap().len(), 1, "refusals leave nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_death_left_of_a_pin_that_was_not_acknowledged_is_cleared() {
    let store = Store::new(8 * MIB);
    let digests = closure(&store, 1).await;
    pin(&store, "a", &digests[..3], PinMode::Create, DAY).await.unwrap();
    store.engine.shared().index.write_closure(77, &digests).unwrap();
    let store = store.reopen().await;
    assert_eq!(store.engine.shared().index.generations().unwrap(), [0]);
    let pinners =
        |digest| store.engine.shared().index.pinners(&crate::engine::key::Key::Blob(digest)).unwrap();
    assert_eq!((pinners(digests[0]), pinners(digests[9])), (vec![0], vec![]));
    pin(&store, "b", &digests, PinMode::Create, DAY).await.unwrap();
    assert_eq!(pinners(digests[0]), [0, 78], "numbers are not used again");
}
