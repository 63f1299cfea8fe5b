//! Checkpoints.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use lsgd_core::{Frozen, Layout};
use lsgd_run::storage::{CheckpointName, CheckpointState, RunFolder, SavedRun, Which};
use lsgd_run::{RunError, Task};
use serde_json::Value;

use super::kib;
use crate::changes::Form;
use crate::harness::{Bound, Decoder};
use crate::toy::{self, Toy};

/// The step of the checkpoint that every run has.
const STEP: u64 = 4;

/// A run with a checkpoint.
#[derive(Clone)]
struct Saved {
    folder: PathBuf,
    layout: Arc<Layout>,
    frozen: Arc<Frozen>,
}

pub fn decoders(folder: &Path) -> Vec<Decoder> {
    // Methods that remember vectors and numbers of different names.
    let saved: Vec<Saved> = [
        &[
            "method.name=lsgd",
            "method.local_prox=0.1",
            "average.ema_decay=0.9",
            "average.window=2",
        ][..],
        &["method.name=diloco"],
        &["method.name=grawa"],
        &["method.name=easgd", "run.mode=async"],
    ]
    .iter()
    .enumerate()
    .map(|(number, set)| Saved::of(&folder.join(number.to_string()), set))
    .collect();
    let bound = kib(512, 64);
    vec![
        decoder(
            "checkpoint state.json",
            Form::Json,
            bound,
            &saved,
            |saved| saved.whole(),
        ),
        decoder(
            "checkpoint state.safetensors",
            Form::Safetensors,
            bound,
            &saved,
            |saved| saved.found(),
        ),
        decoder(
            "checkpoint worker-0.safetensors",
            Form::Safetensors,
            bound,
            &saved,
            |saved| saved.read(Which::Worker(0)),
        ),
        decoder(
            "checkpoint frozen.safetensors",
            Form::Safetensors,
            bound,
            &saved,
            |saved| saved.frozen(),
        ),
    ]
}

/// A decoder of one file of the runs' checkpoints, by its name. The input takes the file's place in the run
/// whose file it was made from, as far as can be told: it is accepted if it is in any.
fn decoder(
    name: &'static str,
    form: Form,
    bound: Bound,
    saved: &[Saved],
    read: fn(&Saved) -> Result<(), RunError>,
) -> Decoder {
    let (_, file) = name.split_once(' ').unwrap_or_default();
    let saved = saved.to_vec();
    let originals: Vec<Vec<u8>> = saved
        .iter()
        .map(|saved| fs::read(saved.checkpoint().join(file)).expect("the run has the file"))
        .collect();
    Decoder {
        name,
        form,
        valid: originals.clone(),
        bound,
        share: 20,
        read: Box::new(move |bytes| {
            let mut accepted = false;
            for (saved, original) in saved.iter().zip(&originals) {
                let path = saved.checkpoint().join(file);
                fs::write(&path, bytes).expect("the file can be written");
                let outcome = read(saved);
                if let Err(error) = &outcome {
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
                accepted |= outcome.is_ok();
                fs::write(&path, original).expect("the file can be written");
            }
            accepted
        }),
    }
}

impl Saved {
    fn of(folder: &Path, set: &[&str]) -> Self {
        let outcome = toy::run(toy::config(folder, set)).expect("the toy can be trained");
        let module = match Toy::default().module(&Device::flex().autodiff()) {
            Ok(module) => module,
            Err(never) => match never {},
        };
        let saved = Self {
            folder: outcome.folder.path().to_owned(),
            layout: Layout::of(&module),
            frozen: Arc::new(Frozen::of(&module)),
        };
        // Without digests, as earlier versions wrote them: any change of a file gets past that check.
        let state = saved.checkpoint().join("state.json");
        let text = fs::read(&state).expect("there is a checkpoint");
        let mut value: Value = serde_json::from_slice(&text).expect("it is JSON");
        value["files"] = serde_json::json!({});
        fs::write(state, value.to_string()).expect("the file can be written");
        saved
    }

    fn checkpoint(&self) -> PathBuf {
        self.folder.join(format!("checkpoints/step-{STEP}"))
    }

    fn state(&self) -> Result<(PathBuf, CheckpointState), RunError> {
        CheckpointState::named(&RunFolder::open(&self.folder)?, CheckpointName::Newest)
    }

    fn read(&self, which: Which) -> Result<(), RunError> {
        let (path, state) = self.state()?;
        state.read(&path, which, &self.layout).map(drop)
    }

    fn frozen(&self) -> Result<(), RunError> {
        let (path, state) = self.state()?;
        state.read_frozen(&path, &self.frozen).map(drop)
    }

    /// What a run continues from.
    fn found(&self) -> Result<(), RunError> {
        let Some(saved) = SavedRun::find(&self.folder, CheckpointName::Newest, &self.layout)?
        else {
            return Ok(());
        };
        for worker in [0, 1, 2, usize::MAX] {
            assert!(saved.worker(worker).is_some());
        }
        for ends in [false, true] {
            saved.lengths(ends);
        }
        saved.owes_evaluation();
        Ok(())
    }

    /// All that can be asked of a checkpoint.
    fn whole(&self) -> Result<(), RunError> {
        let (path, state) = self.state()?;
        assert!(!state.instead(&path).contains('\n'));
        for which in [
            Which::Leader,
            Which::Mean,
            Which::Worker(1),
            Which::Ema,
            Which::Lawa,
            Which::WorkerEma(1),
            Which::Worker(usize::MAX),
            Which::MeanOfAllNodes,
        ] {
            // There may be none.
            let _ = state.read(&path, which, &self.layout);
        }
        let _ = state.read_frozen(&path, &self.frozen);
        for name in [CheckpointName::Best, CheckpointName::Step(STEP)] {
            let _ = SavedRun::find(&self.folder, name, &self.layout);
        }
        SavedRun::checkpoints(&self.folder)?;
        self.found()
    }
}
