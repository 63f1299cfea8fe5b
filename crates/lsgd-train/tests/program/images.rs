//! Runs on image folders: what is left out, what is refused, and the names of the classes.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use safetensors::SafeTensors;
use serde_json::Value;

use super::program::{Ran, Run, Runs, SMOKE, command, run, workspace, write_images};

/// A red cat and a blue dog in each split.
fn cats_and_dogs(folder: &Path) {
    for split in ["train", "val"] {
        for (class, colour) in [("cat", [255, 0, 0]), ("dog", [0, 0, 255])] {
            let place = folder.join(split).join(class);
            fs::create_dir_all(&place).unwrap();
            for name in ["1.jpg", "2.png"] {
                let image = RgbImage::from_pixel(40, 30, Rgb(colour));
                image.save(place.join(name)).unwrap();
            }
        }
    }
}

/// One step of two workers on the images in `folder`.
fn set(folder: &Path) -> Vec<String> {
    let folder = format!("data.folder={}", folder.display());
    let others = [
        "data.name=folder",
        "data.augment=none",
        "data.batch_size=2",
        "model.width=1",
        "method.local_period=1",
        "method.global_period=1",
        "method.loss_window=1",
        "budget.steps=1",
        "evaluate.batch_norm_batches=1",
    ];
    let others = others.into_iter().map(String::from);
    others.chain([folder]).collect()
}

fn trained(runs: &Runs, folder: &Path) -> Run {
    let set = set(folder);
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    runs.train(SMOKE, "run", &set)
}

/// What `eval` of a run says on standard error, and its exit code.
fn evaluated(run_: &Run) -> (Option<i32>, String) {
    let ran = run(["eval", run_.path.to_str().unwrap()]);
    (ran.code, ran.stderr)
}

#[test]
fn what_is_left_out_is_counted_once() {
    let (runs, folder) = (Runs::new(), tempfile::tempdir().unwrap());
    let at = folder.path();
    cats_and_dogs(at);
    fs::create_dir(at.join("train/dog/puppies")).unwrap();
    for file in [
        "train/cat/3.webp",
        "train/cat/4.WEBP",
        "val/dog/5.tif",
        "train/dog/puppies/6.jpg",
        "val/7.png",
        // Neither hidden files nor texts are images.
        "train/cat/.8.png",
        "train/cat/notes.txt",
    ] {
        fs::write(at.join(file), "").unwrap();
    }
    let set = set(at);
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let mut arguments = runs.arguments(SMOKE, "run", &set);
    arguments.push(String::from("--quiet"));
    let ran = run(arguments);
    let at = at.display();
    let warning = format!(
        "WARN {at}: left out 1 .tif, 2 .webp, 1 in folders below a class, 1 outside of class folders, \
         the first {at}/train/cat/3.webp; .jpg, .jpeg and .png directly in train/CLASS and val/CLASS \
         are read\n"
    );
    assert_eq!(ran.stderr.trim_start(), warning);
    ran.well();
}

/// In training and in the test alike, and nothing is made up for what is missing.
#[test]
fn a_cut_off_image_ends_the_run() {
    for place in ["train/cat/1.jpg", "val/dog/1.jpg"] {
        let (runs, folder) = (Runs::new(), tempfile::tempdir().unwrap());
        cats_and_dogs(folder.path());
        let file = folder.path().join(place);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 20]).unwrap();
        let set = set(folder.path());
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        let text = format!(
            "{} cannot be decoded as an image: it ends before its end-of-image marker, so it was cut \
             off; get it again",
            file.display()
        );
        runs.start(SMOKE, "run", &set).failed_late(1, &text);
    }
}

/// Named once each, however often they are met, and the run trains on what a run would whose bad
/// image is a copy of the next. The test is scored without its own.
#[test]
fn bad_images_are_skipped_if_asked() {
    let (runs, folder) = (Runs::new(), tempfile::tempdir().unwrap());
    let at = folder.path();
    write_images(at);
    let set = [
        &format!("data.folder={}", at.display())[..],
        "data.name=folder",
        "data.augment=paper",
        "data.batch_size=2",
        "data.bad_images=skip",
        "model.width=1",
        "budget.epochs=4",
        "evaluate.every_steps=2",
    ];
    let bad = ["train/cat/1.png", "val/dog/0.png"].map(|place| at.join(place));
    for file in &bad {
        fs::write(file, "not an image").unwrap();
    }
    let mut arguments = runs.arguments(SMOKE, "skipped", &set);
    arguments.push(String::from("--quiet"));
    let ran = run(arguments);
    let mut told: Vec<&str> = ran.stderr.lines().map(str::trim_start).collect();
    told.sort_unstable();
    let warning = |file: &Path, of: &str| {
        format!(
            "WARN {} cannot be decoded as an image: by its contents it is neither JPEG nor PNG; \
             skipped, 1 of {of} images so far",
            file.display()
        )
    };
    assert_eq!(
        told,
        [warning(&bad[0], "8 training"), warning(&bad[1], "2 test")]
    );
    ran.well();
    let skipped = runs.get("skipped");
    assert!(skipped.eval("mean").ends_with(", 1 test example\n"));

    fs::copy(at.join("train/cat/2.png"), &bad[0]).unwrap();
    let copied = runs.train(SMOKE, "copied", &set);
    assert_eq!(skipped.digests(), copied.digests());
    assert_eq!(skipped.summary()["test"], copied.summary()["test"]);

    // One more is over the limit.
    for file in [&bad[0], &at.join("train/dog/3.png")] {
        fs::write(file, "not an image").unwrap();
    }
    let ran = runs.start(SMOKE, "over", &set);
    let last = ran.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("error: ") && last.contains(" cannot be decoded"),
        "{last}"
    );
    let share = "; 2 of 8 training images are bad, more than data.bad_images_limit 0.01 allows; mend \
                 or remove them, or raise the limit";
    assert!(last.ends_with(share), "{last}");
    assert_eq!(ran.code, Some(1));
}

#[test]
fn classes_that_were_renamed_or_reordered_are_not_evaluated() {
    let (runs, folder) = (Runs::new(), tempfile::tempdir().unwrap());
    cats_and_dogs(folder.path());
    let run = trained(&runs, folder.path());
    let rename = |from: &str, to: &str| {
        for split in ["train", "val"] {
            let split = folder.path().join(split);
            fs::rename(split.join(from), split.join(to)).unwrap();
        }
    };
    let refused = |what: &str| {
        let text = format!(
            "error: {}: the data do not have the classes it was trained on: {what}; give data of the \
             same names in the same order (class_names in the checkpoint's state.json)\n",
            run.path.display()
        );
        assert_eq!(evaluated(&run), (Some(1), text));
    };
    assert_eq!(evaluated(&run).0, Some(0));
    rename("cat", "wolf");
    refused("the data have \"wolf\", but not \"cat\"");
    rename("wolf", "cat");
    assert_eq!(evaluated(&run).0, Some(0));

    // Names that were stored in another order.
    let state = run.join("checkpoints/step-1/state.json");
    let mut stored: Value = run.json("checkpoints/step-1/state.json");
    assert_eq!(stored["class_names"], serde_json::json!(["cat", "dog"]));
    stored["class_names"] = serde_json::json!(["dog", "cat"]);
    fs::write(&state, stored.to_string()).unwrap();
    refused("in another order, class 0 was \"dog\" and is \"cat\"");

    // A run of a version that stored none can be continued.
    stored.as_object_mut().unwrap().remove("class_names");
    fs::write(&state, stored.to_string()).unwrap();
    assert_eq!(evaluated(&run).0, Some(0));
    assert_eq!(metadata(&run.export("mean")), [("format", "pt")].map(owned));
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// The metadata of an exported file, sorted.
fn metadata(file: &[u8]) -> Vec<(String, String)> {
    let (_, header) = SafeTensors::read_metadata(file).unwrap();
    let mut metadata: Vec<_> = header.metadata().clone().unwrap().into_iter().collect();
    metadata.sort();
    metadata
}

#[test]
fn an_export_names_its_format_and_classes() {
    let (runs, folder) = (Runs::new(), tempfile::tempdir().unwrap());
    cats_and_dogs(folder.path());
    let named = [("class_names", "[\"cat\",\"dog\"]"), ("format", "pt")];
    let run = trained(&runs, folder.path());
    assert_eq!(metadata(&run.export("mean")), named.map(owned));
}

/// Paths are relative to where the program is started; elsewhere it says so, and where they would be
/// right.
#[test]
fn a_path_from_another_directory() {
    let (runs, folder) = (Runs::new(), tempfile::tempdir().unwrap());
    let at = folder.path().canonicalize().unwrap();
    cats_and_dogs(&at.join("pets"));
    let below = at.join("below");
    fs::create_dir(&below).unwrap();
    let set = set(Path::new("pets"));
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let config = workspace().canonicalize().unwrap().join(SMOKE);
    let arguments = runs.arguments(config.to_str().unwrap(), "run", &set);
    let started = |place: &Path| {
        let mut command = command(&arguments);
        Ran::of(command.current_dir(place).output().unwrap())
    };
    let text = format!(
        "data.folder pets does not exist (looked for in {}); there is {}: give that path",
        below.display(),
        at.join("pets").display()
    );
    started(&below).failed(1, &text);
    started(&at).well();
}
