//! Mutual TLS, with certificates made here.

use std::path::{Path, PathBuf};
use std::process::Command;

use lsgd_link::{Incoming, LinkConfig, Tls};
use tempfile::TempDir;
use zenoh::Wait;

use crate::nodes::{Node, config, meet};

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {error}");
}

/// An authority, and certificates that it signs.
struct Authority(TempDir);

impl Authority {
    fn named(name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        openssl(
            folder.path(),
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                 -subj /CN={name} -keyout ca.key -out ca.pem"
            ),
        );
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A certificate for loopback, valid for `days` from today (negative: over).
    fn sign(&self, name: &str, days: i32) -> Tls {
        self.sign_for("IP:127.0.0.1", name, days)
    }

    /// A certificate for `host`.
    fn sign_for(&self, host: &str, name: &str, days: i32) -> Tls {
        let folder = self.0.path();
        openssl(
            folder,
            &format!(
                "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
                 -addext subjectAltName={host} -keyout {name}.key -out {name}.csr"
            ),
        );
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
                 -copy_extensions copy -days {days} -out {name}.pem"
            ),
        );
        Tls {
            ca: self.path("ca.pem"),
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }
}

fn configs(run: &str, certificates: [Tls; 2]) -> Vec<LinkConfig> {
    let mut configs: Vec<_> = (0..2).map(|node| config(run, node, 2)).collect();
    for (config, tls) in configs.iter_mut().zip(certificates) {
        config.listen = vec![config.listen[0].replace("tcp/", "tls/")];
        config.tls = Some(tls);
    }
    let all: Vec<_> = configs
        .iter()
        .flat_map(|config| config.listen.clone())
        .collect();
    for config in &mut configs {
        config.connect = all.clone();
    }
    configs
}

fn error(tls: Tls) -> String {
    let mut config = config("mistakes", 0, 2);
    config.tls = Some(tls);
    match Node::open(config) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn nodes_with_certificates_of_one_authority_meet() {
    let authority = Authority::named("ours");
    let nodes = meet(configs(
        "good",
        [authority.sign("a", 2), authority.sign("b", 2)],
    ));
    // Zenoh's TLS link ends a connection now and then that writes while it reads, unless it is given one
    // thread for both, as the program gives it. The nodes then meet again.
    let digest = nodes[0].link.publish(crate::nodes::snapshot(1));
    let arrives = |_| {
        nodes[1].fetch(digest, &[0]);
        nodes[1].wait_fetched(digest).is_ok()
    };
    assert!((0..5).any(arrives));
    for node in &nodes {
        let meets = |event: &Incoming| {
            matches!(
                event,
                Incoming::Connected { .. } | Incoming::Disconnected { .. }
            )
        };
        let told: Vec<Incoming> = node.told().into_iter().filter(|e| !meets(e)).collect();
        assert!(told.is_empty(), "{told:?}");
    }
}

#[test]
fn own_mistakes_are_named_before_anything_is_opened() {
    let (authority, other) = (Authority::named("ours"), Authority::named("theirs"));
    let good = authority.sign("good", 2);
    let foreign = Tls {
        ca: other.path("ca.pem"),
        ..good.clone()
    };
    let certificate = good.certificate.display();
    assert_eq!(
        error(foreign.clone()),
        format!(
            "{certificate}: the certificate is not signed by {}",
            foreign.ca.display()
        )
    );
    let expired = authority.sign("expired", -1);
    assert_eq!(
        error(expired.clone()),
        format!(
            "{}: the certificate has expired; make a new one",
            expired.certificate.display()
        )
    );
    let swapped = Tls {
        key: authority.sign("other", 2).key,
        ..good.clone()
    };
    assert_eq!(
        error(swapped.clone()),
        format!("{}: not the key of {certificate}", swapped.key.display())
    );
    let missing = authority.path("missing.pem");
    for tls in [
        Tls {
            ca: missing.clone(),
            ..good.clone()
        },
        Tls {
            certificate: missing.clone(),
            ..good.clone()
        },
        Tls {
            key: missing.clone(),
            ..good.clone()
        },
    ] {
        let path = missing.display();
        let expected = format!("{path}: cannot be read: No such file or directory (os error 2)");
        assert_eq!(error(tls), expected);
    }
    let empty = Tls {
        certificate: good.key.clone(),
        ..good.clone()
    };
    let path = empty.certificate.display();
    assert_eq!(
        error(empty.clone()),
        format!("{path}: holds no certificate in PEM")
    );
}

/// What a node says of those it does not trust or who do not trust it.
fn wait_untrusted(node: &Node) -> (String, String) {
    node.wait(|incoming| match incoming {
        Incoming::Untrusted { endpoint, why } => Some((endpoint.clone(), why.clone())),
        _ => None,
    })
}

#[test]
fn nodes_of_different_authorities_do_not_meet_and_both_say_why() {
    let (ours, theirs) = (Authority::named("ours"), Authority::named("theirs"));
    let certificates = [ours.sign("a", 2), theirs.sign("b", 2)];
    let configs = configs("strangers", certificates.clone());
    let endpoints: Vec<_> = configs
        .iter()
        .map(|config| config.listen[0].clone())
        .collect();
    let nodes: Vec<_> = configs
        .into_iter()
        .map(|config| Node::open(config).unwrap())
        .collect();
    for (own, other) in [(0, 1), (1, 0)] {
        let ca = certificates[own].ca.display();
        let why = format!("it is not trusted here: the certificate is not signed by {ca}");
        assert_eq!(wait_untrusted(&nodes[own]), (endpoints[other].clone(), why));
        let told = nodes[own].told();
        assert!(told.is_empty(), "{told:?}");
    }
}

#[test]
fn whose_certificate_is_refused_is_told() {
    let (ours, theirs) = (Authority::named("ours"), Authority::named("theirs"));
    let mut configs = configs("refused", [ours.sign("a", 2), ours.sign("b", 2)]);
    // The second trusts the first, which does not know the second's own authority.
    let both = ours.path("both.pem");
    let authorities = [ours.path("ca.pem"), theirs.path("ca.pem")];
    let text = authorities
        .map(|path| std::fs::read_to_string(path).unwrap())
        .concat();
    std::fs::write(&both, text).unwrap();
    let foreign = Tls {
        ca: both,
        ..theirs.sign("b", 2)
    };
    let certificate = foreign.certificate.display().to_string();
    configs[1].tls = Some(foreign);
    configs[0].connect.clear();
    let first = Node::open(configs.remove(0)).unwrap();
    let second = Node::open(configs.remove(0)).unwrap();
    let (_, why) = wait_untrusted(&second);
    assert_eq!(why, format!("it refuses {certificate} (UnknownCA)"));
    let told = first.told();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn an_expired_certificate_is_named_by_who_meets_it() {
    let authority = Authority::named("ours");
    let mut configs = configs("expired", [authority.sign("a", 2), authority.sign("b", 2)]);
    let expired = authority.sign("expired", -1);
    configs[1].listen.clear();
    let config = configs.pop().unwrap();
    // No node opens with an expired certificate, so a bare session plays one whose time has come.
    let endpoint = &configs[0].listen[0];
    let settings = format!(
        r#"{{ mode: "peer", listen: {{ endpoints: ["{endpoint}"] }},
             scouting: {{ multicast: {{ enabled: false }} }},
             transport: {{ link: {{ tls: {{
                 root_ca_certificate: {:?}, listen_certificate: {:?}, listen_private_key: {:?},
                 enable_mtls: true }} }} }} }}"#,
        expired.ca, expired.certificate, expired.key
    );
    let _session = zenoh::open(zenoh::Config::from_json5(&settings).unwrap())
        .wait()
        .unwrap();
    let node = Node::open(config).unwrap();
    let why = "it is not trusted here: the certificate has expired; make a new one";
    assert_eq!(wait_untrusted(&node), (endpoint.clone(), why.into()));
}

/// Others would refuse it when they connect to it, but not when it connects to them.
#[test]
fn a_certificate_for_another_host_is_refused_by_its_own_node() {
    let authority = Authority::named("ours");
    let mut configs = configs(
        "misnamed",
        [
            authority.sign("a", 2),
            authority.sign_for("DNS:node-c", "b", 2),
        ],
    );
    let mut config = configs.pop().unwrap();
    let endpoint = config.listen[0].clone();
    config.known_as = Some(endpoint.clone());
    let certificate = config.tls.as_ref().unwrap().certificate.clone();
    let line = match Node::open(config) {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    };
    let address = endpoint.strip_prefix("tls/").unwrap();
    let expected = format!(
        "{}: others connect to this node at {address}, and certificate not valid for name \
         \"127.0.0.1\"; certificate is only valid for DnsName(\"node-c\"); make one for that host, or \
         correct cluster.connect",
        certificate.display()
    );
    assert_eq!(line, expected);
}

#[test]
fn who_connects_to_a_certificate_for_another_host_does_not_meet_it() {
    let authority = Authority::named("ours");
    let mut configs = configs(
        "elsewhere",
        [
            authority.sign("a", 2),
            authority.sign_for("DNS:node-c", "b", 2),
        ],
    );
    // Only the first connects.
    configs[1].connect.clear();
    let endpoint = configs[1].listen[0].clone();
    let second = Node::open(configs.pop().unwrap()).unwrap();
    let first = Node::open(configs.pop().unwrap()).unwrap();
    let why = "it is not trusted here: certificate not valid for name \"127.0.0.1\"; certificate is \
               only valid for DnsName(\"node-c\")";
    assert_eq!(wait_untrusted(&first), (endpoint, why.into()));
    let told = second.told();
    assert!(told.is_empty(), "{told:?}");
}
