//! The transport over HTTPS.

use std::io;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode, header};

use super::{Response, Transport};

/// Longest wait for a connection, and for each further piece of an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// HTTPS through `ureq`, resuming by range requests. Follows redirects, but never off HTTPS; a
/// server that falls silent for a minute counts as broken off.
pub struct Http {
    agent: Agent,
}

impl Http {
    /// A transport without connections yet.
    pub fn new() -> Self {
        let config = Agent::config_builder()
            .https_only(true)
            // The archive's own bytes are wanted, not an encoding of them.
            .accept_encoding("identity")
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .build();
        Self {
            agent: config.new_agent(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Transport for Http {
    fn open(&mut self, url: &str, from: u64) -> io::Result<Response> {
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request.call().map_err(io::Error::other)?;
        let (start, total) = extent(response.status(), response.headers())?;
        Ok(Response {
            start,
            total,
            body: Box::new(response.into_body().into_reader()),
        })
    }
}

/// First byte and length of the whole file, from an answer's status and headers.
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
    fn plain_http_is_refused_before_any_connection() {
        let error = Http::new()
            .open("http://localhost/x.tar.gz", 0)
            .err()
            .unwrap();
        assert!(error.to_string().contains("https"), "{error}");
    }
}
