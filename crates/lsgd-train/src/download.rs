//! `lsgd-train data fetch`: a download that a person can watch.

use std::io::Write;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::FetchName;
use crate::config::DataName;
use crate::data::DataError;
use crate::data::fetch::{Progress, fetch};

/// Fetches a data set into `folder`, by default where configs expect it, and says on standard error
/// how far it is.
///
/// # Errors
///
/// As [`fetch`].
pub fn download(name: FetchName, folder: Option<&Path>) -> Result<(), DataError> {
    let name = match name {
        FetchName::Cifar10 => DataName::Cifar10,
        FetchName::Cifar100 => DataName::Cifar100,
    };
    let folder: PathBuf = folder
        .map(Path::to_owned)
        .or_else(|| name.default_folder())
        .unwrap_or_default();
    let bar = ProgressBar::no_length();
    // A template that indicatif does not take would show nothing but its default.
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    ) {
        bar.set_style(style);
    }
    let say = |text: &str| match bar.is_hidden() {
        // That nobody reads it is no reason to break off.
        true => drop(writeln!(std::io::stderr(), "{text}")),
        false => bar.println(text),
    };
    let mut begun = false;
    let result = fetch(name, &folder, &mut |progress| match progress {
        Progress::Present => say(&format!("{} is complete already", folder.display())),
        Progress::Download { done, total } => {
            if !begun {
                begun = true;
                say(&format!(
                    "downloading {total} bytes, {done} of them here already"
                ));
                bar.set_length(total);
                // The rate is that of this call.
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
