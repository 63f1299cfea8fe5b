//! `eval --logits`: what it writes is what it scores.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use lsgd_train::data::{Batch, Dataset};
use lsgd_train::image_config::Config;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

/// Two workers, four steps each, on 200 images of which 40 more are the test.
const CONFIG: &str = r#"
[run]
name = "tiny"
[data]
name = "generated"
augment = "none"
batch_size = 8
examples = 200
classes = 4
shape = [3, 8, 8]
[model]
name = "resnet8"
width = 4
[method]
local_period = 2
loss_window = 2
[workers]
count = 2
[budget]
steps = 4
[evaluate]
batch_norm_batches = 2
"#;

fn lsgd_train() -> Command {
    Command::new(cargo_bin("lsgd-train"))
}

fn trained(folder: &Path) -> PathBuf {
    let config = folder.join("tiny.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut train = lsgd_train();
    train.arg("--quiet").arg("--config").arg(&config);
    train.arg("--set");
    train.arg(format!("run.folder={:?}", folder.join("runs")));
    train.assert().success();
    folder.join("runs").join("tiny")
}

/// The test examples of `run`, its data changed as `set` says.
fn test_examples(run: &Path, set: &[String]) -> Batch {
    let config = Config::load(&run.join("config.toml"), set).unwrap();
    let dataset = Dataset::open(&config.task.data, config.settings.run.seed).unwrap();
    dataset.test_batch(0..dataset.test_len()).unwrap()
}

fn tensor(file: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = SafeTensors::deserialize(file).unwrap();
    assert_eq!(file.len(), 2);
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    let values = view.data().chunks_exact(4);
    let values = values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    (view.shape().to_vec(), values.collect())
}

/// Mean cross-entropy and percentage wrong, in double precision.
fn score(logits: &[f32], labels: &[i32], classes: usize) -> (f64, f64) {
    let (mut loss, mut wrong) = (0.0, 0.0);
    for (logits, label) in logits.chunks_exact(classes).zip(labels) {
        let label = usize::try_from(*label).unwrap();
        let own = f64::from(logits[label]);
        loss += logits
            .iter()
            .map(|logit| (f64::from(*logit) - own).exp())
            .sum::<f64>()
            .ln();
        if logits.iter().any(|logit| *logit > logits[label]) {
            wrong += 1.0;
        }
    }
    let examples = labels.len() as f64;
    (loss / examples, 100.0 * wrong / examples)
}

#[test]
fn the_logits_are_those_of_the_images_that_are_scored() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    for which in ["leader", "mean", "worker-1"] {
        let path = folder.path().join(format!("{which}.safetensors"));
        let mut eval = lsgd_train();
        eval.arg("eval").arg(&run).args(["--which", which]);
        let output = eval.arg("--logits").arg(&path).assert().success();
        let output = String::from_utf8(output.get_output().stdout.clone()).unwrap();

        let file = std::fs::read(&path).unwrap();
        let expected = test_examples(&run, &[]);
        let images = (expected.shape.to_vec(), expected.images);
        assert_eq!(tensor(&file, "images"), images);
        let (shape, logits) = tensor(&file, "logits");
        assert_eq!(shape, [40, 4]);
        let (loss, error) = score(&logits, &expected.labels, 4);
        // The program computes in single precision and prints four digits.
        let printed = output.split_once("loss ").unwrap().1;
        let printed: f64 = printed.split_once(',').unwrap().0.parse().unwrap();
        assert!((printed - loss).abs() < 2e-4, "{output}: {loss}");
        assert!(output.contains(&format!("error {error:.2} %")), "{output}");
        assert!(
            output.ends_with(&format!("wrote {}\n", path.display())),
            "{output}"
        );
    }
}

#[test]
fn no_more_than_the_first_128_test_images_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let path = folder.path().join("logits.safetensors");
    let set = String::from("data.examples=700");
    let mut eval = lsgd_train();
    eval.arg("eval").arg(&run).arg("--logits").arg(&path);
    let output = eval.args(["--set", &set]).assert().success();
    let output = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(output.contains("140 test examples"), "{output}");

    let file = std::fs::read(&path).unwrap();
    let (shape, images) = tensor(&file, "images");
    assert_eq!(shape, [128, 3, 8, 8]);
    let expected = test_examples(&run, &[set]).images;
    assert_eq!(images[..], expected[..images.len()]);
    assert_eq!(tensor(&file, "logits").0, [128, 4]);
}

#[test]
fn logits_that_cannot_be_written_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let path = folder.path().join("absent").join("logits.safetensors");
    let mut eval = lsgd_train();
    eval.arg("eval").arg(&run).arg("--logits").arg(&path);
    let output = eval.assert().code(1);
    let error = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    let start = format!("error: cannot write {}: ", path.display());
    assert!(error.starts_with(&start), "{error}");
}
