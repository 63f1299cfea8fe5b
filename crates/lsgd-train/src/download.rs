//! `lsgd-train data fetch`: a download with a progress bar.

use std::io::Write;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{Fetch, FetchName};
use crate::data::DataError;
use crate::data::fetch::{Origin, Progress, fetch};
use crate::image_config::DataName;

/// Fetches a data set into the folder asked for, or by default where configs expect it, and shows
/// progress on standard error.
///
/// # Errors
///
/// As [`fetch`].
pub fn download(arguments: &Fetch) -> Result<(), DataError> {
    let name = match arguments.name {
        FetchName::Cifar10 => DataName::Cifar10,
        FetchName::Cifar100 => DataName::Cifar100,
    };
    let folder: PathBuf = arguments
        .folder
        .clone()
        .or_else(|| name.default_folder())
        .unwrap_or_default();
    let origin = Origin {
        archive: arguments.archive.clone(),
        mirror: arguments.mirror.clone(),
        ca: arguments.ca.clone(),
    };
    let bar = ProgressBar::no_length();
    // With an invalid template indicatif would use its default.
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    ) {
        bar.set_style(style);
    }
    let say = |text: &str| match bar.is_hidden() {
        // A closed standard error is no reason to stop.
        true => drop(writeln!(std::io::stderr(), "{text}")),
        false => bar.println(text),
    };
    let mut begun = false;
    let result = fetch(name, &folder, &origin, &mut |progress| match progress {
        Progress::Present => say(&format!("{} is complete already", folder.display())),
        Progress::Download { done, total } => {
            if !begun {
                begun = true;
                say(&format!(
                    "downloading {total} bytes, {done} of them here already"
                ));
                bar.set_length(total);
                // The rate counts only this call.
                bar.set_position(done);
                bar.reset_eta();
            }
            bar.set_position(done);
        }
        Progress::Check => say("checking SHA-256"),
        Progress::Unpack { file } => say(&format!("unpacking {file}")),
    });
    bar.finish_and_clear();
    result
}
