//! The tables of this program's configs besides the engine's: data, model, optimizer, loss, kernels.
//!
//! [`lsgd_run::config`] has the tables of every config and says how a config is read. Relative
//! paths and `~/` work as there.

mod check;
#[cfg(test)]
mod tests;
mod types;

use lsgd_models::{MAX_BASE_WIDTH, MAX_CLASSES, MAX_IMAGE_SIDE, ModelKind};

use lsgd_run::config::{
    self, ConfigError, ConfigSources, Entry, Field, Key, Kind, Range, Settings, TableDoc,
    TaskTables,
};
pub use types::*;

/// A whole run of this program.
pub type Config = config::Config<ImageConfig>;

/// Largest batch, in examples.
const MAX_BATCH: u64 = 1 << 16;

/// Most of `data.mixup` and `data.cutmix`: beyond it all weights are a half.
const MAX_SHAPE: f64 = 100.0;

const UNDER_ONE: Kind = Kind::Number(Range::from(0.0).under(1.0));
const OVER_ZERO: Kind = Kind::Number(Range::over(0.0));
/// The shape of a symmetric beta distribution.
const SHAPE: Kind = Kind::Number(Range::over(0.0).to(MAX_SHAPE));
/// How far a property of colours changes: a factor of up to 1 + 10.
const SPREAD: Kind = Kind::Number(Range::from(0.0).to(10.0));
/// `data.jitter`
const JITTER: Entry = Entry {
    fields: &[
        Field::new("brightness", SPREAD),
        Field::new("contrast", SPREAD),
        Field::new("saturation", SPREAD),
        Field::new("hue", Kind::Number(Range::from(0.0).to(0.5))),
    ],
    example: "{ brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 }",
};
/// `data.split`
const SPLIT: Entry = Entry {
    fields: &[Field::needed("dirichlet", OVER_ZERO)],
    example: "{ dirichlet = 0.3 }",
};
/// An entry of `data.vary`.
const VARY: Entry = Entry {
    fields: &[
        Field::needed("worker", Kind::Whole(0, i64::MAX as u64)),
        Field::new("label_noise", Kind::Number(Range::FRACTION)),
        Field::new("image_noise", Kind::Number(Range::FRACTION)),
        Field::new("augment", Kind::Flag),
    ],
    example: "{ worker = 3, label_noise = 1.0 }",
};
/// The data sets that are read from files.
const FILES: &[&str] = &["cifar10", "cifar100", "digits", "folder"];
/// The data sets that are drawn.
const GENERATED: &[&str] = &["generated"];
/// Optimizers with plain momentum.
const MOMENTUM: &[&str] = &["sgd", "lars", "muon"];

/// Optimizers that decay parameters of one dimension.
const DECAYING: &[&str] = &["sgd", "adam", "adamw", "lion", "lamb", "muon"];

/// The tables.
const TABLES: &[TableDoc] = &[
    table("data"),
    table("model"),
    table("optimizer"),
    table("loss"),
    table("compute"),
];

const fn table(name: &'static str) -> TableDoc {
    TableDoc { name, doc: "" }
}

/// The keys.
#[rustfmt::skip]
const KEYS: &[Key] = &[
    Key::new("data.name", Kind::Word(&["cifar10", "cifar100", "folder", "digits", "generated"]), "\
\"cifar10\" and \"cifar100\" (`lsgd-train data fetch cifar10`), \"digits\" (ships \
with the program), \"folder\" (train/CLASS/*.jpg and val/CLASS/*.jpg; .png \
too; EXIF orientation is not applied), \"generated\" (drawn from the seed)"),
    Key::new("data.folder", Kind::Path, "\
the data set's files themselves are in it; this is the default of cifar10, \
\"datasets/cifar-100-binary\" that of cifar100; \"folder\" needs one")
        .example("\"datasets/cifar-10-batches-bin\"").used_if("data.name", FILES),
    Key::new("data.batch_size", Kind::up_to(MAX_BATCH), "\
examples a batch, per worker; at most those there are, and not 1 where BatchNorm would see one pixel"),
    Key::new("data.holdout", OVER_ZERO, "\
score models on so many training images, drawn from the seed, in place of the test \
images, and never train on them: a share below 1, or a number; default: none")
        .example("0.1"),
    Key::new("data.split", Kind::Entry(&SPLIT), "\
every worker has an equal share of the training images for itself, in a mix of classes drawn from a Dirichlet \
distribution: the smaller the concentration, the fewer classes dominate it; default: all have the same")
        .example("{ dirichlet = 0.3 }"),
    Key::new("data.vary", Kind::Entries(&VARY), "\
workers whose training data differ, for experiments, counted over all nodes; or tables [[data.vary]]
worker = 3
label_noise = 0.5      # share of labels that are drawn at random
image_noise = 0.5      # share of images that are noise
augment = false        # its images are those of a test: not cropped at random, altered, erased or mixed"),
    Key::new("data.augment", Kind::Word(&["paper", "pad_crop", "none"]), "\
\"pad_crop\": flip, pad by 4, random crop of the image's own size
\"paper\": flip, random crop of 28 x 28, centre crop in the test
\"none\""),
    Key::new("data.side", Kind::Whole(16, MAX_IMAGE_SIDE as u64), "\
images of a folder come out as so many pixels square; in the test after their shorter side is resized to 8/7 of it")
        .used_if("data.name", &["folder"]),
    Key::new("data.trivial_augment", Kind::Flag, "\
true: one operation alters every training image, of random kind and strength, as torchvision's TrivialAugmentWide"),
    Key::new("data.jitter", Kind::Entry(&JITTER), "\
change the colours of training images by up to so much, as torchvision's ColorJitter; default: none")
        .example("{ brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 }"),
    Key::new("data.cutout", Kind::up_to(MAX_IMAGE_SIDE as u64), "\
cut a square of this side, in pixels, out of every training image, at a random place; default: none")
        .example("8"),
    Key::new("data.erasing", Kind::Number(Range::FRACTION), "\
probability that a random rectangle of a training image is erased, as torchvision's RandomErasing"),
    Key::new("data.mixup", SHAPE, "\
mix every training image, and its label, with another of its batch, by a weight from Beta(mixup, mixup); \
default: none")
        .example("0.2"),
    Key::new("data.cutmix", SHAPE, "\
the same with a rectangle of the other, as torchvision's CutMix; with mixup every batch takes one of the two")
        .example("1.0"),
    Key::new("data.bad_images", Kind::Word(&["stop", "skip"]), "\
what an image that cannot be decoded does: \"stop\" ends the run, \"skip\" trains on \
the next image in its place, and scores the test without it")
        .used_if("data.name", &["folder"]),
    Key::new("data.bad_images_limit", Kind::Number(Range::over(0.0).to(1.0)), "\
end the run when more than this share of the training or the test images is bad; one always may be")
        .used_if("data.bad_images", &["skip"]),
    Key::new("data.examples", Kind::up_to(1_000_000), "training examples; a fifth as many are made for the test")
        .used_if("data.name", GENERATED),
    Key::new("data.classes", Kind::Whole(2, MAX_CLASSES as u64), "how many there are")
        .used_if("data.name", GENERATED),
    Key::new("data.shape", Kind::Shape, "channels (up to 256), height, width (up to 512)")
        .used_if("data.name", GENERATED),

    Key::new("model.name", Kind::Word(&ModelKind::NAMES), "\
\"cnn7\", CIFAR ResNets of depth 6n+2 (\"resnet8\", \"resnet14\", \"resnet20\", ..), \
\"resnet18\", \"resnet34\", \"resnet50\", \"vgg11\", \"vgg13\", \"vgg16\", \"vgg19\", \
\"cifarnet\": few wide layers, the first of which whitens patches (arXiv 2404.00498)"),
    Key::new("model.width", Kind::up_to(MAX_BASE_WIDTH as u64), "channels of the first stage of a CIFAR ResNet"),
    Key::new("model.dropout", UNDER_ONE, "probability of dropping a value in cnn7 and vgg"),

    Key::new("model.init_from", Kind::Path, "\
begin with the weights of a run (a folder) or of a PyTorch state dict (.safetensors) in place of \
random ones; a last layer of another size is drawn")
        .example("\"runs/first\""),

    Key::new("optimizer.name", Kind::Word(&["sgd", "adam", "adamw", "lars", "lion", "lamb", "muon"]), "\
each worker has its own; or \"adam\", \"adamw\", \"lars\", \"lion\", \"lamb\", \"muon\""),
    Key::new("optimizer.momentum", UNDER_ONE, "of the gradient; default for muon: 0.95").used_if("optimizer.name", MOMENTUM),
    Key::new("optimizer.nesterov", Kind::Flag, "Nesterov's momentum; default for muon: true").used_if("optimizer.name", MOMENTUM),
    Key::new("optimizer.weight_decay", Kind::Number(Range::from(0.0)), "added to the gradient by sgd, adam and lars, decoupled in the others")
        .example("5e-4"),
    Key::new("optimizer.decay_norms", Kind::Flag, "\
false: no weight decay of biases and of the scales and shifts of normalisations, as lars always")
        .used_if("optimizer.name", DECAYING),
    Key::new("optimizer.shift_rate", OVER_ZERO, "\
the learning rate of the shifts of normalisations is this times that of all other parameters"),
    Key::new("optimizer.clip_norm", OVER_ZERO, "\
longer gradients are scaled to this norm, of all parameters together; default: none")
        .example("1.0"),
    Key::new("optimizer.clip_value", OVER_ZERO, "or every value of a gradient is clamped to this; default: none")
        .example("0.5"),
    Key::new("optimizer.trust_coefficient", OVER_ZERO, "steps are this times a tensor's norm, times the learning rate")
        .used_if("optimizer.name", &["lars"]),

    Key::new("loss.label_smoothing", UNDER_ONE, "\
share of the target spread evenly over all classes in training; the test's loss has none"),

    Key::new("compute.cpu_kernels", Kind::Flag, "\
on the CPU: convolutions and normalisations of lsgd-cpu, faster than Burn's, \
which false takes; the results agree to rounding"),
];

/// The beginning of the template.
const HEAD: &str = "\
# A run of lsgd-train. Every key is here with its default; a key that is left out has that default, and
# one behind a # has none. Start it with
#
#     lsgd-train --config lsgd.toml
#
# and change a key for one run with `--set`, such as `--set budget.epochs=10`.
# Where a comment begins with names, such as \"sgd, lars:\", the key is used by these alone.
# Paths are relative to the directory the program is started in; ~/ is the home folder.
# Whole numbers may be written as 1e3.
";

impl TaskTables for ImageConfig {
    const HEAD: &'static str = HEAD;
    const TABLES: &'static [TableDoc] = TABLES;
    const KEYS: &'static [Key] = KEYS;
    const OWN: &'static [&'static str] = &["data.folder", "model.init_from", "compute.cpu_kernels"];
    const MISSING: &'static str = "check the path, or write a config with `lsgd-train init`";
    const MISSING_BENCH: &'static str = "give a bench file, such as configs/bench/smoke.toml";

    fn resolve(&mut self, _: &Settings, sources: &ConfigSources) {
        let data = &mut self.data;
        if data.folder.is_none() {
            data.folder = data.name.default_folder();
        }
        let optimizer = &mut self.optimizer;
        if optimizer.name == OptimizerName::Muon {
            if !sources.is_given("optimizer.momentum") {
                optimizer.momentum = 0.95;
            }
            if !sources.is_given("optimizer.nesterov") {
                optimizer.nesterov = optimizer.momentum > 0.0;
            }
        }
    }

    fn check(&self, settings: &Settings, sources: &ConfigSources) -> Result<(), ConfigError> {
        check::check_varied_decay(&self.optimizer, settings, sources)?;
        check::check(self, sources)
    }
}
