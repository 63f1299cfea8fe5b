//! Fetching from a source in memory: interrupted, resumed, wrong, malicious.

use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const FILES: &[(&str, u64)] = &[("train.bin", 1000), ("test.bin", 10)];

/// A server in memory.
struct Server {
    bytes: Vec<u8>,
    /// How many bytes each response brings before the connection breaks; whole responses after
    /// that.
    breaks: Vec<usize>,
    /// Whether range requests are honoured.
    ranges: bool,
    /// The first byte that each request asked for.
    asked: Vec<u64>,
}

impl Server {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            breaks: Vec::new(),
            ranges: true,
            asked: Vec::new(),
        }
    }
}

impl Transport for Server {
    fn open(&mut self, _url: &str, from: u64) -> io::Result<Response> {
        self.asked.push(from);
        let start = if self.ranges { from } else { 0 };
        let rest = self.bytes[start as usize..].to_vec();
        let total = Some(self.bytes.len() as u64);
        let body: Box<dyn Read> = if self.breaks.is_empty() {
            Box::new(io::Cursor::new(rest))
        } else {
            let some = self.breaks.remove(0).min(rest.len());
            Box::new(io::Cursor::new(rest[..some].to_vec()).chain(Broken))
        };
        Ok(Response { start, total, body })
    }
}

/// A connection that breaks.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    }
}

/// A gzipped tar of entries (path, type, contents). Paths are written as they are: the tar crate
/// itself refuses to make the malicious ones.
fn tarball(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let gzip = GzEncoder::new(Vec::new(), Compression::none());
    let mut tar = tar::Builder::new(gzip);
    for (path, kind, contents) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, *contents).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Like the published ones: a folder, two wanted files and one that is not.
fn published() -> Vec<u8> {
    use tar::EntryType::{Directory, Regular};
    tarball(&[
        ("set-binary/", Directory, b""),
        ("set-binary/train.bin", Regular, &[7; 1000]),
        ("set-binary/readme.html", Regular, b"<p>"),
        ("set-binary/test.bin", Regular, &[8; 10]),
    ])
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// The archive of these contents, with the given SHA-256.
fn archive<'a>(truth: &[u8], sha256: &'a str) -> Archive<'a> {
    Archive {
        url: "https://data.example/set.tar.gz",
        name: "set.tar.gz",
        bytes: truth.len() as u64,
        sha256,
        files: FILES,
    }
}

/// Fetches the archive whose true contents are `truth`.
fn run(server: &mut Server, truth: &[u8], folder: &Path) -> Result<Vec<Progress>, DataError> {
    let sha256 = hex(truth);
    let mut seen = Vec::new();
    let archive = archive(truth, &sha256);
    fetch_from(server, &archive, folder, &mut |p| seen.push(p))?;
    Ok(seen)
}

fn refused(server: &mut Server, truth: &[u8], folder: &Path) -> String {
    run(server, truth, folder).unwrap_err().to_string()
}

/// Names in the folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

fn assert_whole(folder: &Path) {
    assert_eq!(names(folder), ["test.bin", "train.bin"]);
    assert_eq!(fs::read(folder.join("train.bin")).unwrap(), [7; 1000]);
    assert_eq!(fs::read(folder.join("test.bin")).unwrap(), [8; 10]);
}

#[test]
fn a_download_is_checked_and_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("new/set");
    let truth = published();
    let total = truth.len() as u64;
    let mut server = Server::new(truth.clone());
    let seen = run(&mut server, &truth, &target).unwrap();
    assert_whole(&target);
    assert_eq!(seen[0], Progress::Download { done: 0, total });
    let unpack = |file: &str| Progress::Unpack {
        file: file.to_owned(),
    };
    assert_eq!(
        seen[seen.len() - 4..],
        [
            Progress::Download { done: total, total },
            Progress::Check,
            unpack("train.bin"),
            unpack("test.bin")
        ]
    );
    // The second call makes no request.
    assert_eq!(
        run(&mut server, &truth, &target).unwrap(),
        [Progress::Present]
    );
    assert_eq!(server.asked, [0]);
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let truth = published();
    let mut server = Server::new(truth.clone());
    server.breaks = vec![300, 500];
    run(&mut server, &truth, folder.path()).unwrap();
    assert_eq!(server.asked, [0, 300, 800]);
    assert_whole(folder.path());
}

#[test]
fn a_later_call_resumes_what_an_earlier_one_left() {
    let folder = tempfile::tempdir().unwrap();
    let truth = published();
    let mut server = Server::new(truth.clone());
    server.breaks = vec![300, 0];
    assert_eq!(
        refused(&mut server, &truth, folder.path()),
        format!(
            "https://data.example/set.tar.gz: 300 of {} bytes received: connection reset; \
             run the same command again to resume, or get the archive from elsewhere with --mirror \
             or --archive",
            truth.len()
        )
    );
    assert_eq!(names(folder.path()), ["set.tar.gz.part"]);
    run(&mut server, &truth, folder.path()).unwrap();
    assert_eq!(server.asked, [0, 300, 300]);
    assert_whole(folder.path());
}

#[test]
fn a_server_that_breaks_off_for_ever_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let truth = published();
    let mut server = Server::new(truth.clone());
    server.breaks = vec![1; 50];
    assert!(refused(&mut server, &truth, folder.path()).contains(": 10 of "));
    assert_eq!(server.asked.len(), ATTEMPTS);
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let truth = published();
    let mut server = Server::new(truth.clone());
    server.ranges = false;
    server.breaks = vec![700];
    run(&mut server, &truth, folder.path()).unwrap();
    assert_eq!(server.asked, [0, 700]);
    assert_whole(folder.path());
}

#[test]
fn a_wrong_file_is_removed_and_fetched_anew() {
    let folder = tempfile::tempdir().unwrap();
    let truth = published();
    let mut wrong = truth.clone();
    wrong[700] ^= 1;
    let error = refused(&mut Server::new(wrong.clone()), &truth, folder.path());
    assert_eq!(
        error,
        format!(
            "{} has SHA-256 {}, not the published {}; it was removed, so run the same command \
             again to download it anew",
            folder.path().join("set.tar.gz.part").display(),
            hex(&wrong),
            hex(&truth)
        )
    );
    assert!(names(folder.path()).is_empty());
    run(&mut Server::new(truth.clone()), &truth, folder.path()).unwrap();
    assert_whole(folder.path());
}

#[test]
fn a_file_of_another_length_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let truth = published();
    let mut longer = truth.clone();
    longer.push(0);
    assert_eq!(
        refused(&mut Server::new(longer.clone()), &truth, folder.path()),
        format!(
            "https://data.example/set.tar.gz: the server offers {} bytes, but the published file has {}",
            longer.len(),
            truth.len()
        )
    );
    // A server that does not give the length is stopped when it sends too much.
    struct Silent(Server);
    impl Transport for Silent {
        fn open(&mut self, url: &str, from: u64) -> io::Result<Response> {
            Ok(Response {
                total: None,
                ..self.0.open(url, from)?
            })
        }
    }
    let sha256 = hex(&truth);
    let archive = archive(&truth, &sha256);
    let mut silent = Silent(Server::new(longer));
    let error = fetch_from(&mut silent, &archive, folder.path(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, DataError::DownloadSize { .. }), "{error}");
    assert!(names(folder.path()).is_empty());
}

/// A part longer than the archive cannot be its beginning.
#[test]
fn an_overlong_part_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let truth = published();
    fs::write(
        folder.path().join("set.tar.gz.part"),
        vec![0; truth.len() + 1],
    )
    .unwrap();
    let mut server = Server::new(truth.clone());
    run(&mut server, &truth, folder.path()).unwrap();
    assert_eq!(server.asked, [0]);
    assert_whole(folder.path());
}

#[test]
fn malicious_entries_are_refused_and_nothing_is_unpacked() {
    use tar::EntryType::{Regular, Symlink};
    let train: (&str, tar::EntryType, &[u8]) = ("d/train.bin", Regular, &[7; 1000]);
    let test: (&str, tar::EntryType, &[u8]) = ("d/test.bin", Regular, &[8; 10]);
    let many = vec![("d/other", Regular, &b"x"[..]); ENTRIES_TOO_MANY];
    const ENTRIES_TOO_MANY: usize = 65;
    for (entries, reason) in [
        (
            vec![train, ("../evil", Regular, b"x"), test],
            "\"../evil\": its path leads out of the folder",
        ),
        (
            vec![train, ("d/../../train.bin", Regular, b"x")],
            "its path leads out of the folder",
        ),
        (
            vec![train, ("/etc/evil", Regular, b"x"), test],
            "\"/etc/evil\": its path leads out",
        ),
        (
            vec![train, ("d\\..\\evil", Regular, b"x"), test],
            "its path leads out of the folder",
        ),
        (
            vec![train, ("d/test.bin", Symlink, b"")],
            "\"d/test.bin\": neither a file nor a folder",
        ),
        (
            vec![train, train, test],
            "\"d/train.bin\": the second of this name",
        ),
        (
            vec![train, ("d/test.bin", Regular, &[8; 11])],
            "\"d/test.bin\": 11 bytes long, not 10",
        ),
        (vec![train], "\"test.bin\": not in the archive"),
        (many, "\"d/other\": more than 64 entries"),
    ] {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("in");
        let truth = tarball(&entries);
        let error = refused(&mut Server::new(truth.clone()), &truth, &folder);
        assert!(error.contains(reason), "{error}");
        assert!(error.ends_with("; nothing was unpacked"), "{error}");
        assert_eq!(names(&folder), ["set.tar.gz.part"]);
        assert_eq!(names(outer.path()), ["in"]);
    }
}

/// A small archive that unpacks to far more than the files wanted is cut off.
#[test]
fn a_bomb_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let mut header = tar::Header::new_gnu();
    header.set_path("d/other").unwrap();
    header.set_size(40 << 20);
    header.set_cksum();
    gzip.write_all(header.as_bytes()).unwrap();
    gzip.write_all(&vec![0; 40 << 20]).unwrap();
    let truth = gzip.finish().unwrap();
    assert!(truth.len() < 1 << 20);
    assert!(run(&mut Server::new(truth.clone()), &truth, folder.path()).is_err());
    assert_eq!(names(folder.path()), ["set.tar.gz.part"]);
}

#[test]
fn only_published_data_is_fetched() {
    for (name, text) in [
        (
            DataName::Digits,
            "nothing is to be fetched for \"digits\": the digits are built into the program",
        ),
        (
            DataName::Generated,
            "nothing is to be fetched for \"generated\": generated data is drawn from the seed",
        ),
        (
            DataName::Folder,
            "nothing is to be fetched for \"folder\": an image folder is your own",
        ),
    ] {
        let folder = Path::new("/nowhere");
        let error = fetch(name, folder, &Origin::default(), &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

/// An archive that was downloaded by other means is checked like any other, and left in place.
#[test]
fn an_archive_that_is_here_is_unpacked() {
    let here = tempfile::tempdir().unwrap();
    let target = here.path().join("set");
    let truth = published();
    let sha256 = hex(&truth);
    let archive = archive(&truth, &sha256);
    let file = here.path().join("mine.tar.gz");
    let unpack = || {
        let mut seen = Vec::new();
        let done = unpack_from(&file, &archive, &target, &mut |p| seen.push(p));
        done.map(|()| seen).map_err(|error| error.to_string())
    };
    let error = unpack().unwrap_err();
    assert!(
        error.starts_with(&format!("{}: ", file.display())),
        "{error}"
    );

    let at = file.display();
    fs::write(&file, &truth[1..]).unwrap();
    let (found, bytes) = (truth.len() - 1, truth.len());
    assert_eq!(
        unpack().unwrap_err(),
        format!("{at} is not the published set.tar.gz: it has {found} bytes, not {bytes}")
    );
    let mut wrong = truth.clone();
    wrong[700] ^= 1;
    fs::write(&file, &wrong).unwrap();
    assert_eq!(
        unpack().unwrap_err(),
        format!(
            "{at} is not the published set.tar.gz: its SHA-256 is {}, not {sha256}",
            hex(&wrong)
        )
    );
    // The user's own files are left alone, and nothing is created from them.
    assert_eq!(names(here.path()), ["mine.tar.gz"]);

    fs::write(&file, &truth).unwrap();
    assert_eq!(unpack().unwrap()[0], Progress::Check);
    assert_whole(&target);
    assert_eq!(fs::read(&file).unwrap(), truth);
    assert_eq!(unpack().unwrap(), [Progress::Present]);
}

#[test]
fn a_mirror_is_a_folder_or_the_archive_itself() {
    for (mirror, url) in [
        ("https://m.example", "https://m.example/set.tar.gz"),
        (
            "https://m.example/data/",
            "https://m.example/data/set.tar.gz",
        ),
        (
            "http://m.example/x/other.tar.gz",
            "http://m.example/x/other.tar.gz",
        ),
        (
            "https://m.example/a.tgz?token=b",
            "https://m.example/a.tgz?token=b",
        ),
    ] {
        assert_eq!(at(mirror, "set.tar.gz"), url);
    }
}

/// A server of one file on loopback that breaks off its first response and honours ranges.
fn serve(bytes: Vec<u8>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/set.tar.gz", listener.local_addr().unwrap());
    let answer = move || {
        let mut asked = Vec::new();
        for sent in [700, usize::MAX] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            let request = String::from_utf8(request).unwrap().to_lowercase();
            let from = request.split_once("range: bytes=").map_or(0, |(_, rest)| {
                rest.split('-').next().unwrap().parse().unwrap()
            });
            let rest = &bytes[from..];
            let (status, total) = (if from > 0 { "206 OK" } else { "200 OK" }, bytes.len());
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{total}\r\n\r\n",
                rest.len(),
                total - 1,
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&rest[..rest.len().min(sent)]).unwrap();
            asked.push(request.lines().next().unwrap().to_owned());
        }
        asked
    };
    (url, std::thread::spawn(answer))
}

/// Over HTTP itself, as from a mirror: interrupted once, resumed, checked.
#[test]
fn a_mirror_may_do_without_https() {
    let folder = tempfile::tempdir().unwrap();
    let truth = published();
    let sha256 = hex(&truth);
    let (url, server) = serve(truth.clone());
    let archive = Archive {
        url: &url,
        ..archive(&truth, &sha256)
    };
    let mut http = Http::new(&url, None).unwrap();
    fetch_from(&mut http, &archive, folder.path(), &mut |_| ()).unwrap();
    assert_whole(folder.path());
    assert_eq!(server.join().unwrap(), ["get /set.tar.gz http/1.1"; 2]);
}

#[test]
fn authorities_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let refused = || {
        let error = Http::new("https://m.example", Some(&file)).err().unwrap();
        let (text, end) = (
            error.to_string(),
            "; give the authority's certificate in PEM",
        );
        let start = format!("{}: ", file.display());
        let reason = text.strip_prefix(&start).and_then(|t| t.strip_suffix(end));
        reason.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert!(refused().contains("No such file"), "{}", refused());
    fs::write(&file, "").unwrap();
    assert_eq!(refused(), "there is no certificate in it");
    let nonsense = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
    fs::write(&file, nonsense).unwrap();
    assert!(!refused().is_empty());
}
