//! Whatever passes between host and device goes by the place that counts it.

use std::path::Path;

/// Burn's functions that read a tensor or upload one.
const READS_AND_UPLOADS: [&str; 12] = [
    "into_scalar(",
    "into_scalar::<",
    "into_data(",
    "to_data(",
    "into_data_async(",
    "to_data_async(",
    "into_vec_as",
    "Tensor::from_data",
    ">::from_data",
    "from_floats(",
    "from_ints(",
    ".execute()",
];

/// What they are used for outside [`lsgd_core::Reading`] and [`upload`], and so not counted.
const ELSEWHERE: [(&str, &str); 5] = [
    ("lsgd-core/src/transfer.rs", "the place itself"),
    (
        "lsgd-models/src/dropout.rs",
        "a mask for each layer and step, drawn on the host",
    ),
    (
        "lsgd-models/src/initial.rs",
        "weights that a model begins with, before anything is trained",
    ),
    (
        "lsgd-run/src/device/check.rs",
        "a check of a device, before anything is trained on it",
    ),
    (
        "lsgd-cpu/src",
        "kernels of the CPU, for which no tensor is elsewhere",
    ),
];

/// Whatever passes goes by the place that counts.
#[test]
fn nothing_is_read_or_uploaded_uncounted() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for krate in [
        "lsgd-core",
        "lsgd-run",
        "lsgd-models",
        "lsgd-cpu",
        "lsgd-learner",
        "lsgd-train",
    ] {
        let mut folders = vec![crates.join(krate).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a crate's sources") {
                let path = entry.expect("readable").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.extend(uncounted(&crates, &path)),
                }
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

/// The lines of a source file, before its tests, that read or upload by themselves.
fn uncounted(crates: &Path, path: &Path) -> Vec<String> {
    let name = path
        .strip_prefix(crates)
        .expect("below it")
        .display()
        .to_string();
    let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
    if is_test
        || !name.ends_with(".rs")
        || ELSEWHERE.iter().any(|(place, _)| name.starts_with(place))
    {
        return Vec::new();
    }
    let text = std::fs::read_to_string(path).expect("UTF-8");
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let transfers = |line: &&str| READS_AND_UPLOADS.iter().any(|name| line.contains(name));
    lines
        .filter(transfers)
        .map(|line| format!("{name}: {}", line.trim()))
        .collect()
}
