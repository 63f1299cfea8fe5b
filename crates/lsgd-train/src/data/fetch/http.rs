//! The transport over HTTPS.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{DataError, Response, Transport};

/// Longest file of certificates that is read, in bytes: all public authorities have a twentieth.
const MAX_AUTHORITIES: u64 = 4 << 20;

/// Longest wait for a connection, and for each further piece of a response.
const TIMEOUT: Duration = Duration::from_secs(60);

/// HTTPS through `ureq`, resuming by range requests. Follows redirects, but never off HTTPS; a
/// server that is silent for a minute counts as a broken connection. A mirror may use plain HTTP:
/// the file is checked by its SHA-256.
pub struct Http {
    agent: Agent,
}

impl Http {
    /// A transport for `url`, without connections yet. `ca` holds the certificates to trust, in PEM,
    /// in place of the public authorities'.
    ///
    /// # Errors
    /// If `ca` cannot be read or holds no certificate.
    pub fn new(url: &str, ca: Option<&Path>) -> Result<Self, DataError> {
        let plain = url.starts_with("http://");
        let roots = match ca {
            Some(file) => RootCerts::Specific(Arc::new(authorities(file)?)),
            None => RootCerts::WebPki,
        };
        let config = Agent::config_builder()
            .https_only(!plain)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            // The archive's own bytes are wanted, not an encoding of them.
            .accept_encoding("identity")
            .timeout_connect(Some(TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(TIMEOUT))
            .build();
        Ok(Self {
            agent: config.new_agent(),
        })
    }
}

/// The certificates in a PEM file, each one usable as an authority.
fn authorities(file: &Path) -> Result<Vec<Certificate<'static>>, DataError> {
    let wrong = |reason: String| DataError::Authority {
        file: file.to_owned(),
        reason,
    };
    let mut text = Vec::new();
    let opened = File::open(file).map_err(|error| wrong(error.to_string()))?;
    let read = opened.take(MAX_AUTHORITIES + 1).read_to_end(&mut text);
    read.map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > MAX_AUTHORITIES {
        return Err(wrong(format!("it has more than {MAX_AUTHORITIES} bytes")));
    }
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let parsed = parsed.map_err(|error| wrong(error.to_string()))?;
    if parsed.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    for certificate in &parsed {
        // Checked here: the connection would silently skip an invalid one.
        let added = RootCertStore::empty().add(certificate.clone());
        added.map_err(|error| wrong(error.to_string()))?;
    }
    let owned = |certificate: &CertificateDer| Certificate::from_der(certificate).to_owned();
    Ok(parsed.iter().map(owned).collect())
}

impl Transport for Http {
    fn open(&mut self, url: &str, from: u64) -> io::Result<Response> {
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request.call().map_err(told)?;
        let (start, total) = extent(response.status(), response.headers())?;
        Ok(Response {
            start,
            total,
            body: Box::new(response.into_body().into_reader()),
        })
    }
}

/// What failed and, for a certificate that is not trusted, what to do.
fn told(error: ureq::Error) -> io::Error {
    let text = error.to_string();
    match text.contains("certificate") {
        true => invalid(format!(
            "{text} (if this network has a certificate authority of its own, give it with --ca)"
        )),
        false => io::Error::other(error),
    }
}

/// First byte and length of the whole file, from a response's status and headers.
fn extent(status: StatusCode, headers: &HeaderMap) -> io::Result<(u64, Option<u64>)> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match status {
        StatusCode::OK => {
            let length = text(header::CONTENT_LENGTH).and_then(|t| t.parse().ok());
            Ok((0, length))
        }
        StatusCode::PARTIAL_CONTENT => {
            let range = text(header::CONTENT_RANGE).unwrap_or_default();
            content_range(range)
                .ok_or_else(|| invalid(format!("a partial answer with Content-Range \"{range}\"")))
        }
        other => Err(invalid(format!("the server answered {other}"))),
    }
}

/// Reads `bytes FIRST-LAST/LENGTH`, where LENGTH may be `*` (RFC 9110, section 14.4).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let length = if length == "*" {
        None
    } else {
        Some(length.parse().ok()?)
    };
    Some((first.parse().ok()?, length))
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, header::HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn the_extent_is_read_from_status_and_headers() {
        let length = headers(header::CONTENT_LENGTH, "500");
        assert_eq!(extent(StatusCode::OK, &length).unwrap(), (0, Some(500)));
        assert_eq!(
            extent(StatusCode::OK, &HeaderMap::new()).unwrap(),
            (0, None)
        );
        let range = |value| {
            extent(
                StatusCode::PARTIAL_CONTENT,
                &headers(header::CONTENT_RANGE, value),
            )
        };
        assert_eq!(range("bytes 100-499/500").unwrap(), (100, Some(500)));
        assert_eq!(range("bytes 100-499/*").unwrap(), (100, None));
        let missing = extent(StatusCode::PARTIAL_CONTENT, &HeaderMap::new()).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "a partial answer with Content-Range \"\""
        );
        for bad in ["bytes */500", "bytes 1-2/x", "lines 1-2/3", "bytes -5-9/10"] {
            assert!(range(bad).is_err(), "{bad}");
        }
        let gone = extent(StatusCode::NOT_FOUND, &HeaderMap::new()).unwrap_err();
        assert_eq!(gone.to_string(), "the server answered 404 Not Found");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn no_more_certificates_are_read_than_there_can_be() {
        let error = Http::new("https://localhost/", Some(Path::new("/dev/zero"))).err();
        let error = error.unwrap().to_string();
        assert!(error.contains("it has more than 4194304 bytes"), "{error}");
    }

    #[test]
    fn https_does_not_become_plain_http() {
        let mut https = Http::new("https://localhost/x.tar.gz", None).unwrap();
        let error = https.open("http://localhost/x.tar.gz", 0).err().unwrap();
        assert!(error.to_string().contains("https"), "{error}");
    }
}
