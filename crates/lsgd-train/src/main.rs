//! The program: reads the command line, executes it, prints the outcome once.

use std::io::{self, Write};
use std::process::ExitCode;

use lsgd_run::RunError;
use lsgd_run::cli::{self, say};
use lsgd_run::exit::EXIT_SUCCESS;
use lsgd_run::open_files;
use lsgd_run::output::Output;
use lsgd_run::words::count;
use lsgd_train::cli::{Command, DataCommand, Eval, Export, Invocation, usage};
use lsgd_train::data::ScoredOn;
use lsgd_train::error::TrainError;
use lsgd_train::image_config::ImageConfig;
use lsgd_train::inspect::Evaluated;
use lsgd_train::{download, export, inspect};

fn main() -> ExitCode {
    let invocation = match Invocation::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(usage) => usage.exit(),
    };
    cli::log_to_stderr();
    open_files::raise_limit();
    let code = match run(invocation) {
        Ok(code) => code,
        Err(error) => {
            let kind = match error {
                TrainError::Run(RunError::Interrupted) => "",
                _ => "error: ",
            };
            // If standard error is closed, the exit code still tells.
            let _ = writeln!(io::stderr(), "{kind}{error}");
            error.exit_code()
        }
    };
    ExitCode::from(code)
}

fn run(invocation: Invocation) -> Result<u8, TrainError> {
    match invocation {
        Invocation::Train(arguments) => Ok(cli::train::<ImageConfig>(&arguments)?),
        Invocation::Command(Command::Run(command)) => {
            Ok(cli::command::<ImageConfig>(command, usage())?)
        }
        Invocation::Command(Command::Data(DataCommand::Fetch(arguments))) => {
            download::download(&arguments)?;
            Ok(EXIT_SUCCESS)
        }
        Invocation::Command(Command::Eval(arguments)) => eval(&arguments),
        Invocation::Command(Command::Export(arguments)) => export(&arguments),
    }
}

fn eval(arguments: &Eval) -> Result<u8, TrainError> {
    let Evaluated {
        score,
        examples,
        on,
        logits,
        confusion,
    } = inspect::eval(arguments)?;
    let metric = |name| score.get(name).unwrap_or(f64::NAN);
    let top5 = score.get("top5_error");
    let top5 = top5.map_or_else(String::new, |error| format!(", top-5 error {error:.2} %"));
    let examples_of = match on {
        ScoredOn::Test => "test example",
        ScoredOn::Holdout => "held-out example",
    };
    let mut text = format!(
        "{} {}: error {:.2} %, loss {:.4}{top5}, {}",
        arguments.run.display(),
        arguments.which,
        metric("error"),
        metric("loss"),
        count(examples, examples_of),
    );
    let mut written = Vec::from_iter(logits);
    if let Some((confusion, output)) = confusion {
        text = format!("{text}\n\n{}", confusion.table().trim_end());
        written.push(output);
    }
    for output in written.iter().filter(|output| !output.is_stream()) {
        text = format!("{text}\nwrote {}", output.path().display());
    }
    match written.iter().any(Output::is_stream) {
        // With a file on standard output, print nothing after it.
        true => drop(writeln!(io::stderr(), "{text}")),
        false => say(format_args!("{text}"))?,
    }
    Ok(EXIT_SUCCESS)
}

fn export(arguments: &Export) -> Result<u8, TrainError> {
    let output = export::export(arguments)?;
    // With the model on standard output, print nothing after it.
    if !output.is_stream() {
        say(format_args!("wrote {}", output.path().display()))?;
    }
    Ok(EXIT_SUCCESS)
}
