//! The program: reads the command line, executes it, prints the outcome once.

use std::io::{self, Write};
use std::process::ExitCode;

use lsgd_run::RunError;
use lsgd_run::cli::{self, say};
use lsgd_run::exit::EXIT_SUCCESS;
use lsgd_run::open_files;
use lsgd_run::words::count;
use lsgd_train::cli::{Command, DataCommand, Eval, Export, Invocation};
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
        Invocation::Command(Command::Run(command)) => Ok(cli::command::<ImageConfig>(command)?),
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
        logits,
    } = inspect::eval(arguments)?;
    let metric = |name| score.get(name).unwrap_or(f64::NAN);
    let line = format!(
        "{} {}: error {:.2} %, loss {:.4}, {}",
        arguments.run.display(),
        arguments.which,
        metric("error"),
        metric("loss"),
        count(examples, "test example"),
    );
    match logits {
        // With the logits on standard output, print nothing after them.
        Some(output) if output.is_stream() => drop(writeln!(io::stderr(), "{line}")),
        Some(output) => {
            let path = output.path().display();
            say(format_args!("{line}\nwrote {path}"))?;
        }
        None => say(format_args!("{line}"))?,
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
