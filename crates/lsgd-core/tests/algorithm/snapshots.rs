//! Flat vectors: what a layout tells apart, what is refused, what a mean is.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use lsgd_core::{
    Layout, Snapshot, SnapshotError, Source, WireFormat, WorkerId, is_buffer, read, write,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::setting::{Point, bits, device, floats, layout, snapshot};

#[derive(Module, Debug)]
struct Several {
    parts: Vec<Param<Tensor<1>>>,
}

/// A module of vectors, each of a length and frozen or not.
fn several(parts: &[(usize, bool)]) -> Several {
    let part = |&(len, frozen): &(usize, bool)| {
        let values = Tensor::<1>::zeros([len], &device());
        Param::from_tensor(values).set_require_grad(!frozen)
    };
    Several {
        parts: parts.iter().map(part).collect(),
    }
}

fn parts() -> impl Strategy<Value = Vec<(usize, bool)>> {
    vec((1..4_usize, any::<bool>()), 0..4)
}

/// What a layout holds of a module: where its trainable parts are, and how long.
fn trainable(parts: &[(usize, bool)]) -> Vec<(usize, usize)> {
    let numbered = parts.iter().enumerate();
    numbered
        .filter(|(_, (_, frozen))| !frozen)
        .map(|(i, (len, _))| (i, *len))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Two modules have one digest exactly when their trainable parameters have the same names,
    /// shapes and order.
    #[test]
    fn digest_tells_layouts_apart(one in parts(), other in parts()) {
        let (a, b) = (Layout::of(&several(&one)), Layout::of(&several(&other)));
        let alike = trainable(&one) == trainable(&other);
        prop_assert_eq!(a.digest() == b.digest(), alike);
        prop_assert_eq!(a.parameter_len(), trainable(&one).iter().map(|(_, len)| len).sum::<usize>());
    }

    /// The mean is summed in the order given, in f32, and then divided: numpy's
    /// `(a + b + c) / np.float32(3)`.
    #[test]
    fn mean_is_summed_in_order(
        workers in (1..5_usize, 1..6_usize)
            .prop_flat_map(|(workers, len)| vec(vec(-1e6..1e6_f32, len), workers))
    ) {
        let len = workers[0].len();
        let snapshots: Vec<Arc<Snapshot>> = (0..).zip(&workers).map(|(w, x)| snapshot(w, 1, x)).collect();
        let mean = Snapshot::mean(snapshots.iter().map(Arc::as_ref)).expect("finite").expect("some");
        let expected: Vec<f32> = (0..len).map(|i| {
            let sum = workers.iter().skip(1).fold(workers[0][i], |sum, x| sum + x[i]);
            sum / workers.len() as f32
        }).collect();
        prop_assert_eq!(bits(mean.parameters()), bits(&expected));
        prop_assert_eq!(mean.source(), Source::Mean { workers: workers.len() });
    }

    /// A digest is of bits: equal values have one, and one flipped bit has another.
    #[test]
    fn digest_is_of_the_bits(values in vec(any::<f32>(), 1..6), at in any::<usize>(), bit in 0..32_u32) {
        let mut flipped = values.clone();
        let at = at % values.len();
        flipped[at] = f32::from_bits(flipped[at].to_bits() ^ (1 << bit));
        let digest = |values: &[f32]| snapshot(0, 1, values).digest();
        prop_assert_eq!(digest(&values), digest(&values.clone()));
        prop_assert_ne!(digest(&values), digest(&flipped));
    }

    /// What is written is read again, bit for bit.
    #[test]
    fn write_then_read(values in vec(-1e30..1e30_f32, 1..6)) {
        let module = Point::at(&vec![0.5; values.len()]);
        let given = snapshot(1, 3, &values);
        let module = write(module, &layout(values.len()), &given).expect("one layout");
        let back = read(&module, &layout(values.len()), given.source()).expect("one layout");
        prop_assert_eq!(back.digest(), given.digest());
        prop_assert!(module.x.val().is_require_grad());
    }
}

/// The mean of nothing is nothing.
#[test]
fn mean_of_none() {
    assert!(Snapshot::mean([]).expect("nothing to refuse").is_none());
}

/// No part of a mean may be something else than finite numbers, the first one included.
#[test]
fn mean_refuses_what_is_not_finite() {
    let (good, bad) = (
        snapshot(0, 1, &[1.0, 2.0]),
        snapshot(1, 1, &[1.0, f32::NAN]),
    );
    for parts in [[&good, &bad], [&bad, &good]] {
        let refusal = Snapshot::mean(parts.map(Arc::as_ref)).expect_err("a NaN");
        assert_eq!(refusal, SnapshotError::NotFinite { index: 1 });
    }
}

/// Two different models can never be mixed.
#[test]
fn mean_refuses_another_layout() {
    let (one, other) = (snapshot(0, 1, &[1.0]), snapshot(1, 1, &[1.0, 2.0]));
    let refusal = Snapshot::mean([one.as_ref(), other.as_ref()]).expect_err("two models");
    assert!(matches!(refusal, SnapshotError::Layout { .. }), "{refusal}");
    let text = refusal.to_string();
    assert!(text.ends_with("all workers must train one model"), "{text}");
}

/// The same values under another name or in another shape are another model.
#[test]
fn layouts_differ_by_name_and_shape() {
    #[derive(Module, Debug)]
    struct Renamed {
        y: Param<Tensor<1>>,
    }
    #[derive(Module, Debug)]
    struct Square {
        x: Param<Tensor<2>>,
    }
    let device = device();
    let renamed = Renamed {
        y: Param::from_data([0.0, 0.0, 0.0, 0.0], &device),
    };
    let square = Square {
        x: Param::from_data([[0.0, 0.0], [0.0, 0.0]], &device),
    };
    let digests = [
        layout(4).digest(),
        Layout::of(&renamed).digest(),
        Layout::of(&square).digest(),
    ];
    assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
}

#[test]
fn snapshot_of_a_wrong_length_is_refused() {
    let source = Source::Worker {
        id: WorkerId::new(0, 0),
        step: 1,
    };
    let refusal = Snapshot::new(layout(2), source, vec![1.0], vec![]).expect_err("too short");
    let (expected, found) = (2, 1);
    assert_eq!(refusal, SnapshotError::Length { expected, found });
}

#[test]
fn write_refuses_another_model_and_what_is_not_finite() {
    let refusal = write(Point::at(&[0.0]), &layout(1), &snapshot(0, 1, &[1.0, 2.0]));
    assert!(matches!(refusal, Err(SnapshotError::Layout { .. })));
    let refusal = write(
        Point::at(&[0.0]),
        &layout(1),
        &snapshot(0, 1, &[f32::INFINITY]),
    );
    assert!(matches!(
        refusal,
        Err(SnapshotError::NotFinite { index: 0 })
    ));
}

/// A module that is not of the layout it is said to be is neither read nor written.
#[test]
fn module_of_another_layout_is_refused() {
    let long = Point::at(&[1.0, 2.0, 3.0]);
    let source = snapshot(0, 1, &[0.0]).source();
    assert!(matches!(
        read(&long, &layout(2), source),
        Err(SnapshotError::Length { expected: 2, .. })
    ));
    let two = snapshot(0, 1, &[8.0, 9.0]);
    assert!(matches!(
        write(long, &layout(2), &two),
        Err(SnapshotError::Length { expected: 2, .. })
    ));
    assert!(matches!(
        write(several(&[(2, false)]), &layout(2), &two),
        Err(SnapshotError::Length {
            expected: 2,
            found: 0
        })
    ));
}

/// Parameters that Burn makes only when they are first used are the ones that are read.
#[test]
fn lazy_parameters_are_read_as_they_will_be() {
    let linear = LinearConfig::new(3, 2).init(&device());
    let layout = Layout::of(&linear);
    let source = snapshot(0, 1, &[0.0]).source();
    let first = read(&linear, &layout, source).expect("of its own layout");
    let again = read(&linear, &layout, source).expect("of its own layout");
    assert_eq!(first.digest(), again.digest());
    let weight = floats(linear.weight.val());
    assert_eq!(bits(&first.parameters()[..6]), bits(&weight));
}

/// An evaluation module, off the tape, takes a snapshot as well.
#[test]
fn module_off_the_tape_can_be_written() {
    let module = Point::at(&[0.0, 0.0]).valid();
    let module = write(module, &layout(2), &snapshot(0, 1, &[1.0, 2.0])).expect("one layout");
    assert_eq!(module.values(), [1.0, 2.0]);
}

#[test]
fn buffers_are_known_by_name() {
    assert!(is_buffer("layers.3.norm.running_mean") && is_buffer("running_var"));
    assert!(!is_buffer("running_mean.weight") && !is_buffer("norm.gamma"));
}

/// As they stand in logs, ranks from 0 as in the records.
#[test]
fn sources_say_whose_values_they_are() {
    let id = WorkerId::new(1, 2);
    let workers = 3;
    for (source, text) in [
        (Source::Worker { id, step: 7 }, "worker 1.2 at step 7"),
        (Source::Mean { workers }, "the mean of 3 workers"),
        (Source::Sum { workers }, "the sum of 3 workers"),
        (Source::Final { workers }, "the sum of 3 workers at the end"),
        (Source::Centre { version: 4 }, "the centre, version 4"),
    ] {
        assert_eq!(source.to_string(), text);
    }
}

#[test]
fn bytes_are_four_a_value() {
    assert_eq!(snapshot(0, 1, &[0.0; 5]).bytes(), 20);
}

#[derive(Module, Debug)]
struct Pair {
    first: Linear,
    second: Linear,
}

/// A worker's four parameters, two in each of two layers, and its weights.
pub fn weighted(x: [f32; 4], weights: &[f32]) -> Snapshot {
    let linear = || LinearConfig::new(1, 1).init(&device());
    let pair = Pair {
        first: linear(),
        second: linear(),
    };
    let layout = Layout::of(&pair);
    assert_eq!(layout.layers(), [0..2, 2..4]);
    let weight = |value: usize| match weights {
        [one] => *one,
        _ => weights[value / 2],
    };
    let products = (0..4).map(|value| x[value] * weight(value)).collect();
    let source = snapshot(0, 1, &[0.0]).source();
    let all = Snapshot::new(layout, source, products, Vec::new()).expect("four values");
    all.with_weights(weights.to_vec()).expect("one or two")
}

/// A weighted mean has the weights of the model, or of each layer, and is a vector like any other.
#[test]
fn a_weighted_mean_is_divided_by_the_weights() {
    let by_model = [
        weighted([8.0, 4.0, 0.0, 2.0], &[3.0]),
        weighted([0.0, 8.0, 4.0, 6.0], &[1.0]),
    ];
    let mean = Snapshot::mean(&by_model).expect("finite").expect("two");
    assert_eq!(mean.parameters(), [6.0, 5.0, 1.0, 3.0]);
    let by_layer = [
        weighted([8.0, 4.0, 0.0, 2.0], &[3.0, 1.0]),
        weighted([0.0, 8.0, 4.0, 6.0], &[1.0, 3.0]),
    ];
    let mean = Snapshot::mean(&by_layer).expect("finite").expect("two");
    assert_eq!(mean.parameters(), [6.0, 5.0, 3.0, 5.0]);
    assert_eq!(mean.source(), Source::Mean { workers: 2 });
    assert_eq!((mean.weights(), mean.values()), (&[][..], 4));
    assert_eq!(by_layer[0].values(), 6);
    assert_ne!(by_layer[0].digest(), by_model[0].digest());
}

#[test]
fn weights_that_make_no_sense_are_refused() {
    let good = weighted([1.0; 4], &[2.0, 2.0]);
    let three = good.clone().with_weights(vec![1.0; 3]);
    let (expected, found) = (2, 3);
    assert_eq!(three.err(), Some(SnapshotError::Length { expected, found }));
    let one = weighted([1.0; 4], &[2.0]);
    let (expected, found) = (2, 1);
    let mixed = Snapshot::sum([&good, &one]);
    assert_eq!(mixed.err(), Some(SnapshotError::Length { expected, found }));
    for unfit in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let unfit = good.clone().with_weights(vec![1.0, unfit]).expect("two");
        let refused = unfit.check(good.layout());
        assert_eq!(refused, Err(SnapshotError::Weight { index: 1 }));
        assert!(Snapshot::mean([&good, &unfit]).is_err());
    }
}

/// What is made of a snapshot whose digest and check are known has its own.
#[test]
fn what_is_known_of_a_snapshot_is_not_taken_for_what_is_made_of_it() {
    let given = snapshot(0, 1, &[0.1, 3.0]);
    given.check(&layout(2)).expect("finite");
    let same = |made: &Snapshot| {
        let values = made.parameters().to_vec();
        let new = Snapshot::new(layout(2), made.source(), values, Vec::new());
        let new = new.expect("as many").with_weights(made.weights().to_vec());
        new.expect("as many").digest()
    };
    let before = given.digest();
    let (rounded, _) = given.rounded(WireFormat::Bf16).expect("finite");
    let mean = Snapshot::mean([given.as_ref(), &snapshot(1, 1, &[0.3, 5.0])]);
    let mean = mean.expect("finite").expect("of two");
    let weighted = Snapshot::clone(&given)
        .with_weights(vec![2.0])
        .expect("one for all");
    for made in [&rounded, &mean, &weighted] {
        assert_ne!(made.digest(), before);
        assert_eq!(made.digest(), same(made));
    }
    assert_eq!(given.digest(), before);
    let unfit = Snapshot::clone(&given)
        .with_weights(vec![0.0])
        .expect("one for all");
    let why = unfit.check(&layout(2));
    assert!(
        matches!(why, Err(SnapshotError::Weight { index: 0 })),
        "{why:?}"
    );
    let most = snapshot(0, 1, &[f32::MAX, 0.0]);
    most.check(&layout(2)).expect("finite");
    let why = Snapshot::sum([most.as_ref(), most.as_ref()]);
    assert!(matches!(why, Err(SnapshotError::NotFinite { index: 0 })));
}
