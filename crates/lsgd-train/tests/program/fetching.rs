//! `data fetch` from elsewhere: an archive that lies here, a mirror, an authority of one's own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

use super::program::{Ran, command, run, workspace};

/// Runs the program without the proxies of the machine it is tested on.
fn fetch(arguments: &[&str]) -> Ran {
    let mut command = command([&["data", "fetch"], arguments].concat());
    for proxy in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    Ran::of(command.output().unwrap())
}

/// An authority, and a server's certificate for loopback that it has signed.
fn certificates(folder: &Path) -> ServerConfig {
    let script = workspace().join("scripts/make-certs");
    let made = Command::new(script)
        .arg(folder)
        .arg("127.0.0.1")
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let chain = CertificateDer::from_pem_file(folder.join("node-1.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("node-1.key")).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap()
}

/// Answers one request with five bytes, over TLS where a config is given. Gives the address, and
/// what was asked for, or nothing if the other trusted no handshake.
fn serve(tls: Option<ServerConfig>) -> (String, JoinHandle<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = move || {
        let (mut stream, _) = listener.accept().unwrap();
        match tls {
            None => exchange(&mut stream),
            Some(config) => {
                let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
                exchange(&mut Stream::new(&mut tls, &mut stream))
            }
        }
    };
    (address, std::thread::spawn(answer))
}

fn exchange(stream: &mut (impl Read + Write)) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        request.extend(byte);
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort";
    stream.write_all(answer).unwrap();
    stream.flush().unwrap();
    let request = String::from_utf8(request).unwrap();
    request.lines().next().map(str::to_owned)
}

/// What a mirror sends is not taken because it is a mirror's.
#[test]
fn a_mirror_is_asked_in_place_of_the_published_address() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for (place, path) in [
        ("data", "/data/cifar-10-binary.tar.gz"),
        ("my/own.tar.gz", "/my/own.tar.gz"),
    ] {
        let (address, server) = serve(None);
        let mirror = format!("http://{address}/{place}");
        let ran = fetch(&["cifar10", "--folder", folder, "--mirror", &mirror]);
        let text = format!(
            "http://{address}{path}: the server offers 5 bytes, but the published file has 170052171"
        );
        ran.failed_late(1, &text);
        assert_eq!(server.join().unwrap(), Some(format!("GET {path} HTTP/1.1")));
    }
    run(["data", "fetch", "cifar10", "--mirror", "ftp://m"])
        .stderr
        .find("give a URL that begins with https:// or http://")
        .expect("advice");
}

#[test]
fn an_authority_of_ones_own_is_trusted_if_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    let config = certificates(&certs);
    let target = folder.path().join("cifar");
    let target = target.to_str().unwrap();
    let ca = certs.join("ca.pem");

    let (address, server) = serve(Some(config.clone()));
    let mirror = format!("https://{address}");
    let trusted = fetch(&[
        "cifar10",
        "--folder",
        target,
        "--mirror",
        &mirror,
        "--ca",
        ca.to_str().unwrap(),
    ]);
    let text = format!(
        "{mirror}/cifar-10-binary.tar.gz: the server offers 5 bytes, but the published file has \
         170052171"
    );
    trusted.failed_late(1, &text);
    assert!(server.join().unwrap().is_some());

    let (address, server) = serve(Some(config));
    let mirror = format!("https://{address}");
    let refused = fetch(&["cifar10", "--folder", target, "--mirror", &mirror]);
    assert_eq!(refused.code, Some(1));
    let text = &refused.stderr;
    assert!(
        text.contains("invalid peer certificate: UnknownIssuer"),
        "{text}"
    );
    assert!(text.contains("give it with --ca"), "{text}");
    assert_eq!(server.join().unwrap(), None);
}

#[test]
fn an_archive_that_is_not_the_published_one_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cifar-10-binary.tar.gz");
    fs::write(&file, "<html>not found</html>").unwrap();
    let target = folder.path().join("cifar");
    let arguments = ["cifar10", "--folder", target.to_str().unwrap(), "--archive"];
    let ran = fetch(&[&arguments[..], &[file.to_str().unwrap()]].concat());
    let text = format!(
        "{} is not the published cifar-10-binary.tar.gz: it has 22 bytes, not 170052171",
        file.display()
    );
    ran.failed(1, &text);
    assert!(file.is_file() && !target.exists());
}
