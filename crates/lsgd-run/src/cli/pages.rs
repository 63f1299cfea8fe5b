//! What is made of the program's own usage: completions for shells, and manual pages.

use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::{Resettable, StyledStr};
use clap::{Args, Command};
use clap_complete::Shell;

use super::path::path;
use super::say::say;
use crate::error::RunError;
use crate::output::Output;
use crate::storage::write_whole;
use crate::words::count;

/// Arguments of `man`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Man {
    /// Write a page for each command into this folder, in place of earlier ones
    #[arg(long, value_name = "FOLDER", value_parser = path())]
    pub out: Option<PathBuf>,
}

/// Prints what `shell` needs to complete the command lines of the program with this `usage`.
///
/// # Errors
///
/// [`RunError::Write`].
pub(super) fn completions(mut usage: Command, shell: Shell) -> Result<(), RunError> {
    let name = usage.get_name().to_owned();
    // In memory: it would panic if standard output were closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut usage, &name, &mut script);
    if shell == Shell::Bash {
        script = with_one_name(&name, &script);
    }
    print(&script)
}

/// The script for bash, in which clap_complete 4.6.12 writes the name of a program with a hyphen in two ways,
/// so that nothing is completed after a command (<https://github.com/clap-rs/clap/issues/6421>).
fn with_one_name(name: &str, script: &[u8]) -> Vec<u8> {
    let (wrong, right) = (name.replace('-', "__subcmd__"), name.replace('-', "__"));
    let script = String::from_utf8_lossy(script);
    script.replace(&wrong, &right).into_bytes()
}

/// Prints the manual page of the program with this `usage`, or writes that of each command to a folder.
///
/// # Errors
///
/// [`RunError::Write`].
pub(super) fn man(usage: Command, arguments: &Man) -> Result<(), RunError> {
    let mut usage = usage.disable_help_subcommand(true);
    usage.build();
    let Some(folder) = &arguments.out else {
        return print(&page(&usage).1);
    };
    fs::create_dir_all(folder).map_err(RunError::write(folder))?;
    let mut pages = Vec::new();
    collect(&usage, &mut pages);
    for (name, text) in &pages {
        write_whole(&folder.join(name), text)?;
    }
    say(format_args!(
        "wrote {} to {}",
        count(pages.len(), "page"),
        folder.display()
    ))
}

/// The pages of a command and of those below it.
fn collect(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) {
    pages.push(page(command));
    for command in command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        collect(command, pages);
    }
}

/// The name of a command's page, and the page.
fn page(command: &Command) -> (String, Vec<u8>) {
    let after_help = command.get_after_help().map(ToString::to_string);
    let man = clap_mangen::Man::new(command.clone().after_help(Resettable::<StyledStr>::Reset));
    let mut text = Vec::new();
    // A vector takes all.
    let _ = man.render(&mut text);
    if let Some(after_help) = after_help {
        text.extend(as_it_is(&after_help).into_bytes());
    }
    (man.get_filename(), text)
}

/// Characters that roff would take for others.
const ESCAPED: [(char, &str); 6] = [
    ('\\', "\\e"),
    ('-', "\\-"),
    ('\'', "\\(aq"),
    ('`', "\\(ga"),
    ('~', "\\(ti"),
    ('^', "\\(ha"),
];

/// A section of lines that stay lines: examples, tables. `clap_mangen` would fill paragraphs with them.
fn as_it_is(text: &str) -> String {
    let mut section = String::from(".SH NOTES\n.nf\n");
    for line in text.lines() {
        if line.starts_with('.') {
            section += "\\&";
        }
        for letter in line.chars() {
            match ESCAPED.iter().find(|(escaped, _)| *escaped == letter) {
                Some((_, escape)) => section += escape,
                None => section.push(letter),
            }
        }
        section.push('\n');
    }
    section + ".fi\n"
}

fn print(text: &[u8]) -> Result<(), RunError> {
    Output::new(Path::new("-"), false)?.write(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_text_is_a_request_or_loses_a_character() {
        let text = "Examples:\n  a --set b=1\n.nothing\n'neither\n\na\\b ~/c";
        let expected = ".SH NOTES\n.nf\nExamples:\n  a \\-\\-set b=1\n\\&.nothing\n\\(aqneither\n\na\\eb \\(ti/c\n.fi\n";
        assert_eq!(as_it_is(text), expected);
    }

    #[test]
    fn a_program_with_a_hyphen_has_one_name() {
        let script = b"my__app__subcmd__a my__subcmd__app__subcmd__a__subcmd__b";
        let mended = with_one_name("my-app", script);
        assert_eq!(mended, b"my__app__subcmd__a my__app__subcmd__a__subcmd__b");
        assert_eq!(with_one_name("app", script), script);
    }

    #[test]
    fn every_command_has_a_page() {
        let mut usage = Command::new("trainer")
            .about("Trains")
            .after_help("Notes:\n  one")
            .subcommand(Command::new("data").subcommand(Command::new("fetch").about("Gets it")));
        usage.build();
        let mut pages = Vec::new();
        collect(&usage, &mut pages);
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        for name in ["trainer.1", "trainer-data.1", "trainer-data-fetch.1"] {
            assert!(names.contains(&name), "{names:?}");
        }
        let text = String::from_utf8(pages[0].1.clone()).unwrap();
        assert!(text.contains(".TH trainer 1"), "{text}");
        assert!(
            text.ends_with(".SH NOTES\n.nf\nNotes:\n  one\n.fi\n"),
            "{text}"
        );
    }
}
