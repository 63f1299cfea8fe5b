//! Checkpoints of image runs, as `eval` and `export` open them, and weights of other programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsgd_run::storage::{CheckpointName, Which};
use lsgd_train::cli::Export;
use lsgd_train::error::TrainError;
use lsgd_train::export::export;
use lsgd_train::image_config::Config;
use lsgd_train::initial_weights::InitialWeights;
use lsgd_train::trained::Trained;
use serde_json::Value;

use super::kib;
use crate::changes::Form;
use crate::harness::Decoder;

const CONFIG: &str = include_str!("../configs/most_keys.toml");

pub fn decoders(folder: &Path) -> Vec<Decoder> {
    let run = run(folder);
    let exported = folder.join("model.safetensors");
    let arguments = Export {
        run: run.clone(),
        which: Which::Leader,
        checkpoint: CheckpointName::Newest,
        output: Some(exported.clone()),
        force: false,
    };
    export(&arguments).expect("the run has a leader");
    vec![state(&run), initial(&run, exported)]
}

/// A short run, whose checkpoint has no digests of its files.
fn run(folder: &Path) -> PathBuf {
    let place = toml::Value::from(folder.to_string_lossy().into_owned());
    let set = [
        format!("run.folder={place}"),
        String::from("budget.steps=6"),
    ];
    let config = Config::from_toml(CONFIG, "the config", &set).expect("the config is valid");
    let outcome = lsgd_run::train(config, Box::new(()), Arc::default());
    let outcome = outcome.expect("it can be trained");
    let run = outcome.folder.path().to_owned();
    let path = run.join("checkpoints/step-6/state.json");
    let text = fs::read(&path).expect("there is a checkpoint");
    let mut value: Value = serde_json::from_slice(&text).expect("it is JSON");
    value["files"] = serde_json::json!({});
    fs::write(path, value.to_string()).expect("the file can be written");
    run
}

fn is_accepted<T>(outcome: Result<T, TrainError>) -> bool {
    if let Err(error) = &outcome {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    outcome.is_ok()
}

/// The state of a checkpoint, which says how large the model is.
fn state(run: &Path) -> Decoder {
    let run = run.to_owned();
    let path = run.join("checkpoints/step-6/state.json");
    let original = fs::read(&path).expect("there is a checkpoint");
    Decoder {
        name: "weights state.json",
        form: Form::Json,
        valid: vec![original.clone()],
        // A model of the most classes, which is made before its layout can be compared.
        bound: kib(256 << 10, 64),
        share: 10,
        read: Box::new(move |bytes| {
            fs::write(&path, bytes).expect("the file can be written");
            let trained = Trained::open(&run, CheckpointName::Newest, &[]);
            let finite = trained.and_then(|trained| trained.finite(Which::Leader).map(drop));
            fs::write(&path, &original).expect("the file can be written");
            is_accepted(finite)
        }),
    }
}

/// A file of `model.init_from`, which another program may have written.
fn initial(run: &Path, path: PathBuf) -> Decoder {
    let trained = Trained::open(run, CheckpointName::Newest, &[]);
    let model = trained.expect("there is a checkpoint").model;
    let device = burn::tensor::Device::flex();
    let own = model.init(&device).expect("the sizes are valid");
    Decoder {
        name: "weights init_from",
        form: Form::Safetensors,
        valid: vec![fs::read(&path).expect("the model was exported")],
        bound: kib(2 << 10, 64),
        share: 10,
        read: Box::new(move |bytes| {
            fs::write(&path, bytes).expect("the file can be written");
            let opened = InitialWeights::open(&path, &model);
            is_accepted(opened.and_then(|(weights, _)| weights.write(own.clone())))
        }),
    }
}
