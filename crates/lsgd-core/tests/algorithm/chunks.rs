//! A mean made chunk by chunk has the bits of one made at once.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use lsgd_core::{
    CHUNK, Layout, MeanRef, Snapshot, SnapshotError, Source, VectorKind, VectorRef, WireFormat,
};

use crate::setting::{bits, device};

#[derive(Module, Debug)]
struct Normed {
    x: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
}

/// Chunks that end within the buffers and not with a block.
const PARAMETERS: usize = CHUNK + 77;
const BUFFERS: usize = CHUNK / 2;

fn layout() -> Arc<Layout> {
    let zeros = |count| Param::from_tensor(Tensor::<1>::zeros([count], &device()));
    Layout::of(&Normed {
        x: zeros(PARAMETERS),
        running_mean: zeros(BUFFERS),
    })
}

/// The sum of a node's workers.
fn sum(layout: &Arc<Layout>, node: u32, workers: usize) -> Snapshot {
    let mut state = node;
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let parameters = (0..PARAMETERS).map(|_| value()).collect();
    let buffers = (0..BUFFERS).map(|_| value()).collect();
    let source = Source::Sum { workers };
    Snapshot::new(layout.clone(), source, parameters, buffers).expect("as long as it says")
}

fn mean_of(sums: &[Snapshot]) -> MeanRef {
    let sums = (0..).zip(sums).map(|(node, sum)| {
        let vector = VectorRef {
            kind: VectorKind::Mean,
            source: sum.source(),
            loss: 0.0,
            digest: sum.digest(),
            factors: None,
        };
        (node, vector)
    });
    MeanRef {
        kind: VectorKind::Mean,
        sums: sums.collect(),
    }
}

fn all(snapshot: &Snapshot) -> Vec<f32> {
    [snapshot.parameters(), snapshot.buffers()].concat()
}

#[test]
fn chunks_have_the_bits_of_the_whole() {
    let layout = layout();
    for wire in [
        WireFormat::F32,
        WireFormat::Bf16,
        WireFormat::Int8,
        WireFormat::Topk,
    ] {
        let sums = [(3, 2), (4, 1), (5, 7)].map(|(node, workers)| sum(&layout, node, workers));
        let mean = mean_of(&sums);
        assert_eq!(mean.workers(), 10);
        let whole = mean.of(&sums, wire).expect("finite").expect("of three");
        assert_eq!(whole.source(), Source::Mean { workers: 10 });
        // Divided by the number of workers, and rounded.
        let at_once = Snapshot::mean(&sums).expect("finite").expect("of three");
        let most = match wire {
            WireFormat::F32 | WireFormat::Topk => 0.0,
            WireFormat::Bf16 => 1.0 / 256.0,
            WireFormat::Int8 => 1.0 / 63.5,
        };
        for (exact, rounded) in all(&at_once).iter().zip(all(&whole)) {
            assert!(
                (exact - rounded).abs() <= most,
                "{wire:?}: {exact} {rounded}"
            );
        }
        let mut made = Vec::new();
        let values = PARAMETERS + BUFFERS;
        for start in (0..values).step_by(CHUNK) {
            let range = start..values.min(start + CHUNK);
            let of_sums: Vec<Vec<f32>> = sums
                .iter()
                .map(|sum| all(sum)[range.clone()].to_vec())
                .collect();
            let chunk = mean.chunk(wire, PARAMETERS, &range, &of_sums);
            made.extend(chunk.expect("finite"));
        }
        assert_eq!(bits(&made), bits(&all(&whole)), "{wire:?}");
    }
}

#[test]
fn a_chunk_that_overflows_is_refused_by_the_position_in_the_vector() {
    let layout = layout();
    let sums = [1, 2].map(|node| sum(&layout, node, 1));
    let mean = mean_of(&sums);
    for wire in [WireFormat::F32, WireFormat::Bf16, WireFormat::Int8] {
        let mut of_sums = vec![vec![1.0; 100]; 2];
        of_sums.iter_mut().for_each(|chunk| chunk[40] = f32::MAX);
        let range = CHUNK..CHUNK + 100;
        let refused = mean.chunk(wire, PARAMETERS, &range, &of_sums);
        let index = CHUNK + 40;
        assert_eq!(refused, Err(SnapshotError::NotFinite { index }), "{wire:?}");
    }
}
