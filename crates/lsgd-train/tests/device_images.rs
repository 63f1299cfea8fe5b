//! Training images made on a device of bytes are those that the host makes, and one upload a batch.

use std::env;
use std::fmt::Debug;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Int, Tensor};
use image::{Rgb, RgbImage};
use lsgd_core::TRANSFERS;
use lsgd_run::{StepKey, Task};
use lsgd_train::data::{Dataset, Reserve, ScoredOn, Stream};
use lsgd_train::device_images::DeviceImages;
use lsgd_train::image_config::{Augment, Config, DataConfig, DataName};
use lsgd_train::image_model::model_config;
use lsgd_train::image_task::{ImageTask, Uses};
use lsgd_train::tensors::Examples;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, subscriber};

fn generated(shape: [usize; 3], augment: Augment) -> DataConfig {
    DataConfig {
        name: DataName::Generated,
        examples: 60,
        classes: 7,
        shape,
        augment,
        ..DataConfig::default()
    }
}

fn values(images: Tensor<4>) -> Vec<f32> {
    images.into_data().iter::<f32>().collect()
}

fn classes(labels: Tensor<1, Int>) -> Vec<i64> {
    labels.into_data().iter::<i64>().collect()
}

/// Both ways for a few batches; what is compared of every one is told to `check` too.
fn compare(config: &DataConfig, check: impl Fn(&Examples)) {
    let device = Device::flex().autodiff();
    let dataset = Dataset::open(config, 3).unwrap();
    let examples = dataset.train_len();
    let stream = Stream::new(examples, 6, 5).unwrap();
    let stream = stream.holding_out(Reserve::Validation, 2, 5).unwrap();
    let on_device = DeviceImages::new(dataset.format());
    for number in 0..5 {
        let host = Examples::of(dataset.train_batch(&stream, number).unwrap(), &device);
        let bytes = dataset.byte_batch(&stream, number).unwrap();
        let made = on_device.examples(bytes, &device);
        check(&made);
        assert_eq!(host.images.dims(), made.images.dims());
        let [host_images, images] = [host.images, made.images].map(values);
        assert!(host_images == images, "{config:?}, batch {number}");
        assert_eq!(classes(host.labels), classes(made.labels));
        let second = [host.second, made.second]
            .map(|second| second.map(|second| (classes(second.labels), second.weight)));
        assert_eq!(second[0], second[1]);
        // On the CPU a blend is rounded alike, too.
        assert_eq!(
            second[0].is_some(),
            config.mixup.or(config.cutmix).is_some()
        );
    }
}

#[test]
fn images_in_memory_have_the_same_bits() {
    for (shape, augment) in [
        ([3, 32, 32], Augment::PadCrop),
        ([3, 32, 32], Augment::Paper),
        ([1, 28, 35], Augment::Paper),
        // Less than a word, and sides shorter than the padding.
        ([1, 1, 3], Augment::PadCrop),
        ([2, 3, 5], Augment::PadCrop),
        ([3, 9, 7], Augment::None),
    ] {
        compare(&generated(shape, augment), |_| {});
    }
}

#[test]
fn erased_parts_are_the_same() {
    let base = generated([3, 16, 12], Augment::PadCrop);
    for (cutout, erasing) in [(Some(5), 0.0), (None, 0.9), (Some(12), 1.0)] {
        let config = DataConfig {
            cutout,
            erasing,
            ..base.clone()
        };
        compare(&config, |made| {
            let zeros = values(made.images.clone()).into_iter();
            assert!(
                zeros.filter(|value| *value == 0.0).count() > 20,
                "{config:?}"
            );
        });
    }
}

#[test]
fn mixed_images_are_the_same() {
    let base = generated([3, 10, 12], Augment::PadCrop);
    for (mixup, cutmix) in [(Some(0.4), None), (None, Some(1.0)), (Some(1.0), Some(1.0))] {
        compare(
            &DataConfig {
                mixup,
                cutmix,
                erasing: 0.3,
                ..base.clone()
            },
            |_| {},
        );
    }
}

/// Images of a folder are decoded and resized on the host, and flipped on the device.
#[test]
fn images_of_a_folder_have_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    for split in ["train", "val"] {
        for class in ["a", "b"] {
            let path = folder.path().join(split).join(class);
            std::fs::create_dir_all(&path).unwrap();
            (0..6).for_each(|number| picture(&path, number));
        }
    }
    for augment in [Augment::Paper, Augment::None] {
        let config = DataConfig {
            name: DataName::Folder,
            folder: Some(folder.path().to_owned()),
            side: 17,
            cutout: Some(4),
            ..generated([3, 1, 1], augment)
        };
        compare(&config, |_| {});
    }
}

fn picture(folder: &Path, number: u32) {
    let pixel = |x, y| {
        Rgb([
            (x * 7 + number) as u8,
            (y * 9) as u8,
            (x * y + number * 40) as u8,
        ])
    };
    let image = RgbImage::from_fn(30 + number, 24, pixel);
    image.save(folder.join(format!("{number}.png"))).unwrap();
}

/// The uploads and reads that a thread makes, with their bytes.
#[derive(Debug, Clone, Default)]
struct Counter(Arc<Mutex<Vec<Transfer>>>);

#[derive(Debug, Clone, Default, PartialEq)]
struct Transfer {
    name: String,
    bytes: u64,
}

impl Counter {
    fn take(&self) -> Vec<Transfer> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TRANSFERS
    }

    fn event(&self, event: &Event<'_>) {
        let mut transfer = Transfer::default();
        event.record(&mut transfer);
        self.0.lock().unwrap().push(transfer);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Visit for Transfer {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "bytes" {
            self.bytes = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "direction" => self.name = value.to_owned(),
            "what" => self.name = format!("{} {value}", self.name),
            _ => {}
        }
    }
}

/// Set in that process.
const ALONE: &str = "LSGD_TEST_ALONE";

/// Runs the test `name`, which calls this, in a process of its own. There it is true, and the test goes on;
/// here it is false once the other has passed.
///
/// For tests that count events of `tracing`: whether an event is of interest is decided once for all
/// threads, when the first of them comes to it. If that is the thread of another test, which has no
/// subscriber, just while this one's is being set, the event is lost to all.
#[track_caller]
fn alone(name: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let program = env::current_exe().expect("this process has one");
    let ran = Command::new(program)
        .args(["--exact", name, "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .expect("it can be started once more");
    let said = String::from_utf8_lossy(&ran.stdout);
    let passed = ran.status.success() && said.contains("1 passed");
    assert!(passed, "{said}{}", String::from_utf8_lossy(&ran.stderr));
    false
}

/// A small CIFAR ResNet on images of CIFAR's size.
fn task(set: &[&str]) -> ImageTask {
    let toml = "data = { name = \"generated\", batch_size = 16, examples = 64, shape = [3, 32, 32] }\n\
                model = { name = \"resnet8\", width = 4 }\n";
    let set: Vec<String> = set.iter().map(|key| (*key).to_owned()).collect();
    let config = Config::from_toml(toml, "test", &set).unwrap();
    let dataset = Arc::new(Dataset::open(&config.task.data, 1).unwrap());
    let model = model_config(&config.task, dataset.classes(), dataset.shape());
    let uses = Uses {
        scored_on: ScoredOn::Test,
        for_mean: false,
    };
    ImageTask::of_run(&config, model, dataset, 1, uses).unwrap()
}

/// `docs/devices.md`: a batch is one upload, of little more than a byte a value.
#[test]
fn a_step_uploads_its_batch_once() {
    if !alone("a_step_uploads_its_batch_once") {
        return;
    }
    let device = Device::flex().autodiff();
    for set in [
        &[][..],
        &["data.cutout=8", "data.mixup=0.2", "data.cutmix=1.0"],
    ] {
        let (host, on_device) = (task(set), task(set).on_devices());
        let model = host.module(&device).unwrap();
        let counter = Counter::default();
        subscriber::with_default(counter.clone(), || {
            for step in 0..4 {
                let (seed, worker) = (1, 0);
                let key = StepKey { seed, worker, step };
                let loss = |task: &ImageTask| {
                    let batch = task.train_batch(step).unwrap();
                    let loss = task.loss(&model, batch, &device, key);
                    (loss.into_scalar::<f32>(), counter.take())
                };
                let ((expected, uploads), (found, of_bytes)) = (loss(&host), loss(&on_device));
                assert_eq!(expected.to_bits(), found.to_bits());
                let names = |transfers: &[Transfer]| -> Vec<String> {
                    transfers
                        .iter()
                        .map(|transfer| transfer.name.clone())
                        .collect()
                };
                let all: u64 = uploads.iter().map(|upload| upload.bytes).sum();
                // The second labels are one more.
                assert_eq!(uploads.len(), 2 + usize::from(!set.is_empty()));
                let mut constants = vec![];
                if step == 0 {
                    constants = vec!["upload image places", "upload image values"];
                }
                assert_eq!(
                    names(&of_bytes),
                    [&["upload batch"][..], &constants].concat()
                );
                assert!(of_bytes[0].bytes * 100 < all * 26, "{of_bytes:?} of {all}");
            }
        });
    }
}

/// Two workers on one device share what is uploaded once.
#[test]
fn constants_are_uploaded_once_a_device() {
    if !alone("constants_are_uploaded_once_a_device") {
        return;
    }
    let dataset = Dataset::open(&generated([3, 8, 8], Augment::PadCrop), 1).unwrap();
    let stream = Stream::new(60, 6, 1).unwrap();
    let images = DeviceImages::new(dataset.format());
    let counter = Counter::default();
    subscriber::with_default(counter.clone(), || {
        for (device, uploads) in [
            (Device::flex().autodiff(), 3),
            (Device::flex().autodiff(), 1),
            // For Burn tensors without autodiff are others.
            (Device::flex(), 3),
            (Device::flex().autodiff(), 1),
        ] {
            let batch = dataset.byte_batch(&stream, 0).unwrap();
            images.examples(batch, &device);
            assert_eq!(counter.take().len(), uploads);
        }
    });
}
