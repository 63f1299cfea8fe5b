//! Who may see a page.

use std::net::{IpAddr, SocketAddr};

use super::error::ServeError;
use super::token::fits;

/// Who may see a page: visitors from this machine, or those that know a token.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    /// Its digest: comparing digests takes the same time wherever they differ.
    token: Option<blake3::Hash>,
}

impl Guard {
    /// The guard of a page at `address`.
    ///
    /// # Errors
    ///
    /// [`ServeError::NoToken`] or [`ServeError::UnfitToken`].
    pub fn new(address: SocketAddr, token: Option<&str>) -> Result<Self, ServeError> {
        match token {
            Some(token) if !fits(token) => Err(ServeError::UnfitToken),
            None if !address.ip().is_loopback() => Err(ServeError::NoToken { address }),
            token => Ok(Self {
                token: token.map(|token| blake3::hash(token.as_bytes())),
            }),
        }
    }

    /// What a visitor asks for, if it may see it: the path without the token that it begins with.
    ///
    /// Without a token, the host that the visitor's browser believes to speak to has to be this machine by
    /// its own name: a page of a stranger's, whose name has been made to lead here, gets nothing.
    pub fn admit<'p>(&self, host: Option<&str>, path: &'p str) -> Option<&'p str> {
        match &self.token {
            None => host.is_some_and(is_loopback).then_some(path),
            Some(token) => {
                let path = path.strip_prefix('/')?;
                let end = path.find('/').unwrap_or(path.len());
                let (given, rest) = path.split_at(end);
                (blake3::hash(given.as_bytes()) == *token).then_some(rest)
            }
        }
    }
}

/// Whether a host, with or without a port, is this machine as only it can call itself.
fn is_loopback(host: &str) -> bool {
    let address = host.parse().map(|address: SocketAddr| address.ip());
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = address.or_else(|_| bare.parse::<IpAddr>());
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ip.map_or_else(
        |_| name.eq_ignore_ascii_case("localhost"),
        |ip| ip.is_loopback(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::token::TOKEN;
    use super::*;

    const KNOWN: &str = "0123456789abcdef";

    fn guard(address: &str, token: Option<&str>) -> Result<Guard, ServeError> {
        Guard::new(address.parse().unwrap(), token)
    }

    #[test]
    fn other_machines_need_a_token() {
        let refused = guard("0.0.0.0:80", None).unwrap_err().to_string();
        assert!(refused.contains("0.0.0.0:80") && refused.contains(TOKEN));
        for address in ["0.0.0.0:80", "192.0.2.1:80", "[::]:80"] {
            assert!(guard(address, None).is_err() && guard(address, Some(KNOWN)).is_ok());
        }
        for address in ["127.0.0.1:80", "[::1]:80", "127.3.2.1:0"] {
            assert!(guard(address, None).is_ok());
        }
    }

    #[test]
    fn a_token_is_long_and_fits_an_address() {
        for token in [
            "",
            "short",
            "0123456789abcde/",
            "0123456789abcd%2",
            &"a".repeat(129),
        ] {
            let refused = guard("127.0.0.1:80", Some(token));
            assert!(matches!(refused, Err(ServeError::UnfitToken)), "{token}");
        }
        assert!(guard("127.0.0.1:80", Some(&"a".repeat(128))).is_ok());
    }

    #[test]
    fn a_visitor_has_to_know_the_whole_token() {
        let guard = guard("0.0.0.0:80", Some(KNOWN)).unwrap();
        let admit = |path| guard.admit(Some("example.org"), path);
        assert_eq!(admit("/0123456789abcdef/metrics"), Some("/metrics"));
        assert_eq!(admit("/0123456789abcdef/"), Some("/"));
        assert_eq!(admit("/0123456789abcdef"), Some(""));
        for path in [
            "",
            "/",
            "/metrics",
            "/0123456789abcde/",
            "/0123456789abcdef0/",
            "//0123456789abcdef/",
            "0123456789abcdef/",
        ] {
            assert_eq!(admit(path), None, "{path}");
        }
    }

    #[test]
    fn without_a_token_a_name_that_leads_here_is_refused() {
        let guard = guard("127.0.0.1:80", None).unwrap();
        for host in [
            "127.0.0.1:8080",
            "localhost",
            "LocalHost:80",
            "[::1]:8080",
            "[::1]",
        ] {
            assert_eq!(guard.admit(Some(host), "/"), Some("/"), "{host}");
        }
        for host in [
            "example.org",
            "example.org:8080",
            "127.0.0.1.example.org",
            "localhost.example.org:80",
            "192.0.2.1",
            "",
        ] {
            assert_eq!(guard.admit(Some(host), "/"), None, "{host}");
        }
        assert_eq!(guard.admit(None, "/"), None);
    }
}
