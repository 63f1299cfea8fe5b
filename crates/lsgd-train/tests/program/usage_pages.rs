//! `completions` and `man`: what is made of the program's usage.

use std::fs;
use std::process::Command;

use super::program::run;

#[test]
fn every_shell_gets_all_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(["completions", shell]).well();
        for word in ["lsgd-train", "watch", "runs", "fetch", "signal-resume"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(["completions", "cmd"]).code, Some(2));
}

/// As bash does when Tab is pressed.
#[cfg(target_os = "linux")]
#[test]
fn bash_completes_commands_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("lsgd-train");
    fs::write(&script, run(["completions", "bash"]).well()).unwrap();
    for (words, expected) in [
        ("lsgd-train wat", "watch"),
        ("lsgd-train watch --w", "--wait"),
        ("lsgd-train data fetch cifar1", "cifar10 cifar100"),
    ] {
        let ask = format!(
            "source '{}'; words=({words}); COMP_WORDS=(\"${{words[@]}}\"); \
             COMP_CWORD=$((${{#words[@]}} - 1)); \
             completes=$(complete -p lsgd-train); completes=${{completes#* -F }}; \
             \"${{completes%% *}}\" lsgd-train \"${{words[-1]}}\" \"${{words[-2]}}\"; \
             echo \"${{COMPREPLY[*]}}\"",
            script.display()
        );
        let ran = Command::new("bash")
            .args(["--norc", "-c", &ask])
            .output()
            .unwrap();
        let reply = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(
            reply.trim(),
            expected,
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
}

#[test]
fn there_is_a_page_for_each_command() {
    let page = run(["man"]).well();
    assert!(page.contains("\n.TH lsgd-train 1 "), "{page}");
    for part in [
        "lsgd\\-train\\-watch(1)",
        "  lsgd\\-train report runs/slow runs/firm            a page that compares two runs, report.html\n",
        "  130  stopped by a signal; what was trained is kept\n",
    ] {
        assert!(page.contains(part), "{part} not in {page}");
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let pages = pages.to_str().unwrap();
    let said = run(["man", "--out", pages]).well();
    let names: Vec<String> = fs::read_dir(pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(said, format!("wrote {} pages to {pages}\n", names.len()));
    for name in [
        "lsgd-train.1",
        "lsgd-train-runs.1",
        "lsgd-train-data-fetch.1",
        "lsgd-train-man.1",
    ] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} not in {names:?}"
        );
    }
    assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
    assert_eq!(
        fs::read_to_string(format!("{pages}/lsgd-train.1")).unwrap(),
        page
    );
    // Again, over what is there.
    run(["man", "--out", pages]).well();
}
