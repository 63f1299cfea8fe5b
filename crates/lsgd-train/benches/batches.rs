//! Preparing a training batch: 128 images of 3 x 32 x 32, drawn, augmented and normalised.
//!
//! A ResNet-20 step on such a batch takes seconds on a CPU core; the loader prepares batches on
//! another thread meanwhile.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lsgd_train::data::{Dataset, Stream};
use lsgd_train::image_config::{Augment, DataConfig, DataName};

const BATCH_SIZE: usize = 128;
const EXAMPLES: usize = 4096;

fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch of 128, 3x32x32");
    group.throughput(Throughput::Elements(BATCH_SIZE as u64));
    for (name, augment) in [
        ("none", Augment::None),
        ("pad_crop", Augment::PadCrop),
        ("paper", Augment::Paper),
    ] {
        let config = DataConfig {
            name: DataName::Generated,
            augment,
            examples: EXAMPLES,
            ..DataConfig::default()
        };
        let dataset = Dataset::open(&config, 1).expect("generated data need no file");
        let stream = Stream::new(EXAMPLES, BATCH_SIZE, 1).expect("fewer examples than 2^32");
        let mut number = 0;
        group.bench_function(name, |bencher| {
            let next = || {
                number += 1;
                number
            };
            let prepare = |number| dataset.train_batch(&stream, number);
            bencher.iter_batched(next, prepare, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, batches);
criterion_main!(benches);
