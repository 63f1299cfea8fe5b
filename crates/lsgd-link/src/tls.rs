//! Certificates: read and checked once before anything is opened, so that a mistake is one line
//! with a path rather than a link that never comes up.

use std::fs::File;
use std::io::{self, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, Stream};
use serde::{Deserialize, Serialize};

use crate::error::LinkError;

/// Longest file in PEM that is read, in bytes: all public authorities together have a twentieth.
const MAX_FILE: u64 = 4 << 20;

/// How long a handshake may take, and how long to listen for a refusal after it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Files for mutual TLS, in PEM. They are read in place and never copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificate of the authority that signs all nodes' certificates.
    pub ca: PathBuf,
    /// This node's certificate, for the names or addresses under which others connect to it.
    pub certificate: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
}

/// The outcome of a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// The two trust each other.
    Trusted,
    /// One does not trust the other: which, and why.
    Refused(String),
}

/// The parsed files.
struct Parsed {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Tls {
    /// Checks that another node with the same authority would accept this node now.
    ///
    /// # Errors
    ///
    /// [`LinkError::Certificate`] names the file and what is wrong with it.
    pub fn check(&self) -> Result<(), LinkError> {
        let Parsed {
            provider,
            roots,
            chain,
            key,
        } = self.parse()?;
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let certificate = self.certificate.display();
                wrong(&self.key, format!("not the key of {certificate}"))
            }
            error => wrong(&self.key, error),
        })?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| wrong(&self.ca, error))?;
        let own = key.end_entity_cert();
        let own = own.map_err(|error| wrong(&self.certificate, error))?;
        verifier
            .verify_client_cert(own, &key.cert[1..], UnixTime::now())
            .map_err(|error| wrong(&self.certificate, self.verdict(error)))?;
        Ok(())
    }

    /// Checks that this node's certificate is valid for the host of `address` (`HOST:PORT`), which
    /// the other nodes verify when they connect.
    ///
    /// # Errors
    ///
    /// [`LinkError::Certificate`] names the file, the host, and the hosts that the certificate is
    /// valid for.
    pub(crate) fn check_name(&self, address: &str) -> Result<(), LinkError> {
        let chain = certificates(&self.certificate)?;
        let Some((own, host)) = chain.first().zip(server_name(address)) else {
            return Ok(());
        };
        let unfit = |error: rustls::Error| {
            let why = self.verdict(error);
            let advice = "make one for that host, or correct cluster.connect";
            wrong(
                &self.certificate,
                format!("others connect to this node at {address}, and {why}; {advice}"),
            )
        };
        let own = ParsedCertificate::try_from(own).map_err(unfit)?;
        verify_server_name(&own, &host).map_err(unfit)
    }

    /// Performs a handshake with the node that listens at `address` (`HOST:PORT`), to learn whether
    /// the two trust each other: Zenoh retries forever and does not report why it fails.
    ///
    /// `None` if no node listens, or the handshake does not get as far as certificates.
    pub(crate) fn shake_hands(&self, address: &str) -> Option<Handshake> {
        let Parsed {
            provider,
            roots,
            chain,
            key,
        } = self.parse().ok()?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .ok()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .ok()?;
        let name = server_name(address)?;
        let mut connection = ClientConnection::new(Arc::new(config), name).ok()?;
        let socket = address.to_socket_addrs().ok()?.next()?;
        let mut stream = TcpStream::connect_timeout(&socket, HANDSHAKE_TIMEOUT).ok()?;
        stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT)).ok()?;
        // The other side verifies only after this side has finished, so keep listening: it sends
        // nothing more, except a refusal.
        let heard = Stream::new(&mut connection, &mut stream).read(&mut [0]);
        let error = match heard {
            Ok(_) => return Some(Handshake::Trusted),
            Err(error) => error,
        };
        let waited = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
        if waited.contains(&error.kind()) {
            return (!connection.is_handshaking()).then_some(Handshake::Trusted);
        }
        let error = error.into_inner()?.downcast::<rustls::Error>().ok()?;
        Some(Handshake::Refused(match *error {
            rustls::Error::AlertReceived(alert) => {
                format!("it refuses {} ({alert:?})", self.certificate.display())
            }
            error => format!("it is not trusted here: {}", self.verdict(error)),
        }))
    }

    fn parse(&self) -> Result<Parsed, LinkError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots
                .add(certificate)
                .map_err(|error| wrong(&self.ca, error))?;
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?);
        Ok(Parsed {
            provider: Arc::new(ring::default_provider()),
            roots: Arc::new(roots),
            chain: certificates(&self.certificate)?,
            key: key.map_err(|error| unreadable(&self.key, "private key", error))?,
        })
    }

    fn verdict(&self, error: rustls::Error) -> String {
        let rustls::Error::InvalidCertificate(error) = error else {
            return error.to_string();
        };
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                String::from("the certificate has expired; make a new one")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                String::from("the certificate is not valid yet; check this machine's clock")
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                format!("the certificate is not signed by {}", self.ca.display())
            }
            error => error.to_string(),
        }
    }
}

/// The host of `HOST:PORT` as certificates name it.
fn server_name(address: &str) -> Option<ServerName<'static>> {
    let (host, _) = address.rsplit_once(':')?;
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let unreadable = |error| unreadable(path, "certificate", error);
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    match certificates.is_empty() {
        true => Err(unreadable(pem::Error::NoItemsFound)),
        false => Ok(certificates),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LinkError> {
    let cannot = |error: io::Error| wrong(path, format!("cannot be read: {error}"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(wrong(path, format!("has more than {MAX_FILE} bytes"))),
        false => Ok(bytes),
    }
}

fn unreadable(path: &Path, what: &str, error: pem::Error) -> LinkError {
    match error {
        pem::Error::NoItemsFound => wrong(path, format!("holds no {what} in PEM")),
        error => wrong(path, format!("is not PEM: {error}")),
    }
}

fn wrong(path: &Path, why: impl ToString) -> LinkError {
    LinkError::Certificate {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn no_more_is_read_than_certificates_can_have() {
        let endless = PathBuf::from("/dev/zero");
        let tls = Tls {
            ca: endless.clone(),
            certificate: endless.clone(),
            key: endless,
        };
        let error = tls.check().unwrap_err().to_string();
        assert!(error.contains("/dev/zero"), "{error}");
        assert!(error.contains("has more than 4194304 bytes"), "{error}");
    }
}
