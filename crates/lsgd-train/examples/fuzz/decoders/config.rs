//! Configs, overrides, bench files, command lines, certificates, and names.

use std::fs;
use std::path::Path;
use std::process::Command;

use lsgd_link::Tls;
use lsgd_models::ModelKind;
use lsgd_run::bench::{Changes, Plan};
use lsgd_run::storage::{CheckpointName, Which};
use lsgd_train::cli::Invocation;
use lsgd_train::data::fetch::Http;
use lsgd_train::image_config::{Config, ImageConfig};

use super::kib;
use crate::changes::Form;
use crate::harness::{Decoder, Read};

const CONFIG: &str = include_str!("../configs/most_keys.toml");
const NODES: &str = include_str!("../configs/nodes.toml");
const SIMULATED: &str = include_str!("../configs/simulated.toml");
const PLAN: &str = include_str!("../configs/plan.toml");

pub fn decoders(folder: &Path) -> Vec<Decoder> {
    let text = |name, valid: &[&str], share, read: Read| Decoder {
        name,
        form: Form::Text,
        valid: valid.iter().map(|text| text.as_bytes().to_vec()).collect(),
        bound: kib(2 << 10, 256),
        share,
        read,
    };
    let set = "run.seed=7\nworkers.devices=[\"cpu\", \"cpu\"]\nschedule.warmup={ steps = 4 }\nbudget.epochs=2\n\
               data.shape=[1, 8, 8]\nmethod.name=easgd";
    let words = "newest\nbest\n1000\nstep-7\nleader\nmean\nworker-12\nresnet20\nvgg16";
    let arguments =
        "lsgd-train\n--config=run.toml\n--set=run.seed=2\n--node=2/4\n--connect=tcp/a:1,tcp/b:2";
    let arguments_of_eval =
        "lsgd-train\neval\nruns/first\n--which=worker-3\n--checkpoint=best\n--set=run.seed=1";
    let plan = folder.join("plan.toml");
    let base = folder.join("config.toml");
    fs::write(&base, CONFIG).expect("the file can be written");
    let valid_plan = PLAN.replace("CONFIG", &base.to_string_lossy());
    vec![
        text(
            "config file",
            &[CONFIG, NODES, SIMULATED],
            20,
            Box::new(config),
        ),
        text("config --set", &[set], 20, Box::new(overrides)),
        text(
            "config bench file",
            &[&valid_plan],
            10,
            Box::new(move |bytes| bench(bytes, &plan)),
        ),
        text(
            "config arguments",
            &[arguments, arguments_of_eval],
            20,
            Box::new(command_line),
        ),
        text("config names", &[words], 100, Box::new(names)),
        certificates(folder),
    ]
}

/// A text that is read, unless it is no UTF-8.
fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A config that is accepted is read back from what it is written as.
fn config(bytes: &[u8]) -> bool {
    let Some(text) = utf8(bytes) else {
        return false;
    };
    let config = match Config::from_toml(text, "a.toml", &[]) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            return false;
        }
    };
    let written = config
        .to_toml()
        .expect("a config that was read can be written");
    let again = Config::from_toml(&written, "b.toml", &[]);
    assert_eq!(
        again.expect("what was written is valid").to_toml().ok(),
        Some(written)
    );
    true
}

/// Each line is a `--set`.
fn overrides(bytes: &[u8]) -> bool {
    let Some(text) = utf8(bytes) else {
        return false;
    };
    let set: Vec<String> = text.lines().map(str::to_owned).collect();
    match Config::from_toml("data.name = \"generated\"", "a.toml", &set) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            false
        }
    }
}

fn bench(bytes: &[u8], path: &Path) -> bool {
    fs::write(path, bytes).expect("the file can be written");
    let plan = match Plan::load::<ImageConfig>(path, Changes::default()) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            return false;
        }
    };
    // At most ten thousand configs are read then.
    let runs = plan.method.len() * plan.seeds.len() * plan.workers.len() * plan.periods.len();
    runs > 16 || plan.entries::<ImageConfig>().is_ok()
}

fn command_line(bytes: &[u8]) -> bool {
    utf8(bytes).is_some_and(|text| Invocation::parse(text.lines()).is_ok())
}

/// Each line as every kind of name; a name that is read is written the same or in its short form.
fn names(bytes: &[u8]) -> bool {
    let Some(text) = utf8(bytes) else {
        return false;
    };
    let mut all = true;
    for line in text.lines() {
        let checkpoint = line.parse::<CheckpointName>();
        let which = line.parse::<Which>();
        let model = line.parse::<ModelKind>();
        if let Ok(name) = checkpoint {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        if let Ok(which) = which {
            assert_eq!(which.to_string().parse(), Ok(which));
        }
        if let Ok(model) = &model {
            assert_eq!(model.name(), line);
        }
        all &= checkpoint.is_ok() || which.is_ok() || model.is_ok();
    }
    all
}

/// A certificate and its key in one file, which is the authority too.
fn certificates(folder: &Path) -> Decoder {
    let made = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '))
        .args("-subj /CN=node -addext subjectAltName=IP:127.0.0.1".split(' '))
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    let read = |name| fs::read(folder.join(name)).expect("openssl has made it");
    let both = [read("certificate.pem"), read("key.pem")].concat();
    let path = folder.join("node.pem");
    Decoder {
        name: "config certificates",
        form: Form::Text,
        valid: vec![both],
        bound: kib(2 << 10, 256),
        share: 10,
        read: Box::new(move |bytes| {
            fs::write(&path, bytes).expect("the file can be written");
            let tls = Tls {
                ca: path.clone(),
                certificate: path.clone(),
                key: path.clone(),
            };
            let authority = Http::new("https://localhost/x", Some(&path)).is_ok();
            tls.check().is_ok() || authority
        }),
    }
}
