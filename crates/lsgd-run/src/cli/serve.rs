//! `--serve` and `serve`: runs, shown while they go on.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::path::path;
use crate::error::RunError;
use crate::serve::{Server, TOKEN};

/// Whether a run is shown while it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Serving {
    /// Serve a page about the run while it goes on, such as at 127.0.0.1:8080
    ///
    /// Port 0 takes one that is free. At any address that other machines could reach, the variable
    /// LSGD_SERVE_TOKEN has to hold a token of 16 to 128 letters, which is then part of the page's address.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub serve: Option<SocketAddr>,
}

impl Serving {
    /// Serves a page about the runs that `root` holds or will hold, if that is asked for, and says where.
    ///
    /// # Errors
    ///
    /// [`RunError::Serve`].
    pub(super) fn start(&self, root: &Path) -> Result<Option<Server>, RunError> {
        self.serve.map(|address| start(address, root)).transpose()
    }
}

/// Arguments of `serve`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Serve {
    /// A run, or a folder of runs, of which the 32 that were written to last are shown
    #[arg(value_name = "FOLDER", default_value = "runs", value_parser = path())]
    pub folder: PathBuf,

    /// Where the page is; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub at: SocketAddr,
}

/// Serves the page that `serve` asks for, and says where, and whether there is anything to show.
///
/// # Errors
///
/// [`RunError::Absent`] for a file; [`RunError::Serve`].
pub(super) fn serve(Serve { folder, at }: &Serve) -> Result<Server, RunError> {
    if folder.is_file() {
        return Err(RunError::Absent {
            path: folder.clone(),
            why: String::from("is a file; give a run, or a folder of runs"),
        });
    }
    let server = start(*at, folder)?;
    if !folder.exists() {
        let folder = folder.display();
        let _ = writeln!(
            io::stderr(),
            "{folder}: there is no such folder yet; runs in it are shown once they begin"
        );
    }
    Ok(server)
}

/// Serves a page about the runs in `root`, and says where.
pub(super) fn start(address: SocketAddr, root: &Path) -> Result<Server, RunError> {
    // A token that is no text does not fit an address either.
    let token = std::env::var_os(TOKEN).map(|token| token.to_string_lossy().into_owned());
    let server = Server::start(address, token.as_deref(), root.to_owned())?;
    // A log can have more readers than the page.
    let path = match token {
        Some(token) if io::stderr().is_terminal() => format!("{token}/"),
        Some(_) => format!("${TOKEN}/"),
        None => String::new(),
    };
    // If nobody hears it, the address is still the one that was asked for.
    let (run, at) = (root.display(), server.address());
    let _ = writeln!(io::stderr(), "{run}: watch at http://{at}/{path}");
    Ok(server)
}

/// `127.0.0.1:8080` or `localhost:8080`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    text.parse()
        .map_err(|_| String::from("give an IP address and a port, such as 127.0.0.1:8080"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_an_ip_and_a_port() {
        for (text, expected) in [
            ("localhost:0", "127.0.0.1:0"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        for text in [
            "8080",
            "127.0.0.1",
            "example.org:80",
            "localhost",
            ":80",
            "",
        ] {
            assert!(address(text).unwrap_err().contains("127.0.0.1:8080"));
        }
    }
}
