//! What the libraries build on.

use std::process::Command;

/// The crates that a crate of this workspace is built of.
fn tree(package: &str) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}", "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{errors}");
    let lines = String::from_utf8(tree.stdout).unwrap();
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    lines.lines().map(name).collect()
}

#[test]
fn the_libraries_have_never_heard_of_images() {
    for library in ["lsgd-core", "lsgd-link", "lsgd-run"] {
        let tree = tree(library);
        assert!(tree.contains(&String::from("lsgd-core")), "{tree:?}");
        for images in ["lsgd-models", "lsgd-cpu", "lsgd-train", "image"] {
            let found = tree.iter().any(|name| name == images);
            assert!(!found, "{library} depends on {images}");
        }
    }
    let networks = tree("lsgd-core");
    assert!(!networks.iter().any(|name| name == "zenoh"));
}
