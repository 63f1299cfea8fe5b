//! Epochs, workers' batches, held-out examples.

use lsgd_run::train::batch_of;

use super::*;
use proptest::prelude::*;

proptest! {
    /// The positions of any epoch hold every example once.
    #[test]
    fn every_epoch_is_a_permutation(
        examples in 1usize..80, batch in 1usize..40, seed: u64, epoch in 0u64..4,
    ) {
        let stream = Stream::new(examples, batch, seed).unwrap();
        let first = epoch * examples as u64;
        let batches = first / batch as u64..=(first + examples as u64) / batch as u64;
        let skipped = (first % batch as u64) as usize;
        let mut seen: Vec<u32> = batches.flat_map(|k| stream.indices(k)).skip(skipped).take(examples).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..examples as u32).collect::<Vec<_>>());
    }

    /// Workers that step together use each example once an epoch, whatever their number.
    #[test]
    fn workers_in_sync_use_each_example_once(
        batch in 1usize..8, per_worker in 1u64..5, workers in 1usize..6, seed: u64, epoch in 0u64..3,
    ) {
        let examples = batch * per_worker as usize * workers;
        let stream = Stream::new(examples, batch, seed).unwrap();
        let mut seen = Vec::new();
        for step in epoch * per_worker..(epoch + 1) * per_worker {
            for worker in 0..workers {
                seen.extend(stream.indices(batch_of(worker as u64, workers as u64, step)));
            }
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..examples as u32).collect::<Vec<_>>());
    }

    /// No batch is given to two workers, or twice to one.
    #[test]
    fn batches_are_dealt_once(workers in 1usize..9, steps in 1u64..20) {
        let mut dealt: Vec<u64> = (0..steps)
            .flat_map(|s| (0..workers).map(move |r| batch_of(r as u64, workers as u64, s)))
            .collect();
        dealt.sort_unstable();
        prop_assert_eq!(dealt, (0..steps * workers as u64).collect::<Vec<_>>());
    }

    /// With shards, each worker's batches are of its own, every one of them once in each of its epochs,
    /// and those held out in none.
    #[test]
    fn a_worker_takes_its_shard_alone(
        examples in 8usize..60, batch in 1usize..9, workers in 1usize..7, held_out in 0usize..2,
        seed: u64,
    ) {
        let stream = Stream::new(examples, batch, seed).unwrap();
        let stream = stream.holding_out(Reserve::Probe, held_out, seed).unwrap();
        let class_of = |example| Some(example as usize % 3);
        let split = Split { dirichlet: 0.3 };
        let sharded = stream.sharded(class_of, workers, split, seed).unwrap();
        let mut all = Vec::new();
        for worker in 0..workers as u64 {
            let of_step = |step| sharded.indices(batch_of(worker, workers as u64, step));
            let taken: Vec<u32> = (0..examples as u64).flat_map(of_step).collect();
            let mut shard = taken.clone();
            shard.sort_unstable();
            shard.dedup();
            for epoch in taken.chunks_exact(shard.len()) {
                let mut epoch = epoch.to_vec();
                epoch.sort_unstable();
                prop_assert_eq!(&epoch, &shard);
            }
            all.extend(shard);
        }
        all.sort_unstable();
        let kept: Vec<u32> = (0..examples as u32)
            .filter(|example| !sharded.holds_out(*example as usize))
            .collect();
        prop_assert_eq!(all, kept);
        prop_assert_eq!(sharded.epoch(), examples - held_out);
    }

    /// Batch k does not depend on earlier requests, on a clone either.
    #[test]
    fn a_batch_is_a_function_of_its_number(
        examples in 1usize..50, batch in 1usize..60, seed: u64,
        asked in prop::collection::vec(0u64..100, 0..12), number in 0u64..100,
    ) {
        let used = Stream::new(examples, batch, seed).unwrap();
        for k in asked {
            used.indices(k);
        }
        let fresh = Stream::new(examples, batch, seed).unwrap();
        prop_assert_eq!(used.indices(number), fresh.indices(number));
        prop_assert_eq!(used.clone().indices(number), fresh.indices(number));
    }
}

#[test]
fn seeds_epochs_and_batches_differ() {
    let stream = |seed| Stream::new(1000, 1000, seed).unwrap();
    assert_ne!(stream(1).indices(0), stream(2).indices(0));
    assert_ne!(stream(1).indices(0), stream(1).indices(1));
    assert_ne!(
        stream(1).indices(0),
        (0..1000).collect::<Vec<u32>>(),
        "the first epoch is shuffled"
    );
}

/// Held-out examples are in no epoch; every other one is in each epoch once.
#[test]
fn held_out_examples_are_never_trained_on() {
    use Reserve::{Probe, Validation};
    let all = Stream::new(20, 5, 3).unwrap();
    let of = |parts: &[(Reserve, usize)]| {
        let mut parts = parts.iter();
        parts.try_fold(all.clone(), |stream, (part, count)| {
            stream.holding_out(*part, *count, 3)
        })
    };
    for parts in [
        &[(Probe, 5)][..],
        &[(Validation, 10)],
        &[(Validation, 2), (Probe, 3)],
    ] {
        let stream = of(parts).unwrap();
        for (part, count) in parts {
            assert_eq!(stream.held_out(*part).len(), *count);
        }
        let count = 20 - stream.epoch() as u32;
        assert_eq!(
            count as usize,
            parts.iter().map(|(_, count)| count).sum::<usize>()
        );
        let held_out = |stream: &Stream| -> Vec<u32> {
            let parts = [Validation, Probe].into_iter();
            parts
                .flat_map(|part| stream.held_out(part).to_vec())
                .collect()
        };
        let batches = u64::from(20 - count) / 5;
        for epoch in 0..3 {
            let mut seen: Vec<u32> = (batches * epoch..batches * (epoch + 1))
                .flat_map(|k| stream.indices(k))
                .chain(held_out(&stream))
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..20).collect::<Vec<_>>(), "{parts:?}");
        }
        let those = (0..21).filter(|index| stream.holds_out(*index)).count();
        assert_eq!(those, count as usize);
        assert_eq!(held_out(&of(parts).unwrap()), held_out(&stream));
    }
    let none = of(&[(Validation, 0), (Probe, 0)]).unwrap();
    assert_eq!(none.indices(2), all.indices(2));
    // However workers are ranked, models are scored on the same examples.
    assert_eq!(
        of(&[(Validation, 4)]).unwrap().held_out(Validation),
        of(&[(Validation, 4), (Probe, 6)])
            .unwrap()
            .held_out(Validation)
    );
    let refused = |parts: &[(Reserve, usize)]| of(parts).unwrap_err().to_string();
    assert_eq!(
        refused(&[(Validation, 20)]),
        "20 examples to hold out of 20 leave none to train on; make data.holdout smaller"
    );
    assert_eq!(
        refused(&[(Validation, 5), (Probe, 15)]),
        "15 examples to hold out of 15 leave none to train on; make method.probe_examples smaller"
    );
}

/// `evaluate.examples` takes the first few, and folders list their images class by class.
#[test]
fn the_first_of_a_validation_split_are_a_fair_sample() {
    let stream = Stream::new(4000, 5, 3).unwrap();
    let stream = stream.holding_out(Reserve::Validation, 2000, 3).unwrap();
    let first = &stream.held_out(Reserve::Validation)[..200];
    for quarter in 0..4 {
        let among = first.iter().filter(|index| **index / 1000 == quarter);
        assert!((30..70).contains(&among.count()), "{first:?}");
    }
    for index in first {
        assert!(stream.holds_out(*index as usize));
    }
}

/// Resuming depends on the same examples being held out in all versions of this program.
#[test]
fn the_held_out_examples_are_pinned() {
    let stream = Stream::new(20, 5, 3).unwrap();
    let probe = stream.clone().holding_out(Reserve::Probe, 3, 3).unwrap();
    assert_eq!(probe.held_out(Reserve::Probe), PINNED_PROBE);
    let validation = stream.holding_out(Reserve::Validation, 3, 3).unwrap();
    assert_eq!(validation.held_out(Reserve::Validation), PINNED_VALIDATION);
}
const PINNED_PROBE: [u32; 3] = [3, 4, 9];
const PINNED_VALIDATION: [u32; 3] = [8, 5, 15];

/// Resuming depends on the order being the same in all versions of this program.
#[test]
fn the_order_is_pinned() {
    let stream = Stream::new(10, 5, 42).unwrap();
    assert_eq!(
        [stream.indices(0), stream.indices(1), stream.indices(2)],
        PINNED
    );
}
const PINNED: [[u32; 5]; 3] = [[2, 1, 8, 0, 4], [5, 6, 9, 7, 3], [7, 6, 4, 8, 9]];

#[test]
fn a_far_batch_costs_no_more() {
    let stream = Stream::new(7, 3, 0).unwrap();
    assert_eq!(stream.indices(u64::MAX / 2).len(), 3);
}

#[test]
fn nothing_cannot_be_streamed() {
    let text = |e, b| Stream::new(e, b, 0).unwrap_err().to_string();
    assert!(text(0, 5).starts_with("no batches can be made of 5 examples each from 0 examples"));
    assert!(text(5, 0).starts_with("no batches can be made of 0 examples each from 5 examples"));
}
