//! `[cluster]`, and the flags that stand for it.

use lsgd_run::cli::Train;
use lsgd_train::cli::Invocation;
use lsgd_train::image_config::Config;
use proptest::prelude::*;

fn load(text: &str) -> Result<Config, String> {
    Config::from_toml(text, "c.toml", &[]).map_err(|error| error.to_string())
}

fn refusal(cluster: &str) -> String {
    load(&format!("[cluster]\n{cluster}")).expect_err("refused")
}

const TWO: &str = r#"connect = ["tcp/127.0.0.1:7401", "tcp/127.0.0.1:7402"]"#;

#[test]
fn a_config_without_the_table_is_of_one_node() {
    let cluster = load("").unwrap().settings.cluster;
    assert_eq!((cluster.nodes, cluster.node), (1, None));
    assert!(cluster.listen.is_empty() && cluster.connect.is_empty());
}

#[test]
fn a_node_listens_at_its_own_entry_of_connect() {
    let text = format!("[cluster]\nnodes = 2\nnode = 2\n{TWO}");
    assert_eq!(
        load(&text).unwrap().settings.cluster.listen,
        ["tcp/127.0.0.1:7402"]
    );
}

#[test]
fn what_a_node_cannot_do_without_is_named() {
    let node = refusal(&format!("nodes = 2\n{TWO}"));
    assert!(
        node.starts_with("c.toml: cluster.node is not given"),
        "{node}"
    );
    assert!(node.contains("--node 2/4"), "{node}");
    let connect = refusal("nodes = 2\nnode = 1");
    assert!(
        connect.starts_with("c.toml: cluster.connect is not given"),
        "{connect}"
    );
    let listen = refusal("nodes = 2\nnode = 1\nconnect = [\"tcp/127.0.0.1:7402\"]");
    assert!(
        listen.starts_with("c.toml: cluster.listen is not given"),
        "{listen}"
    );
}

#[test]
fn a_silence_that_outlasts_the_round_limit_is_refused() {
    let error = refusal("silence_seconds = 10.5");
    assert_eq!(
        error,
        "c.toml: cluster.silence_seconds 10.5 is more than a third of cluster.round_limit_seconds, 30; \
         give at most 10, or raise that"
    );
    let error = refusal("silence_seconds = 1.5\nround_limit_seconds = 2");
    assert!(
        error.ends_with("give at most 1.25, or raise that"),
        "{error}"
    );
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (cluster, key) in [
        ("nodes = 0", "cluster.nodes 0"),
        ("nodes = 4097", "cluster.nodes 4097"),
        ("nodes = 2\nnode = 3", "cluster.node 3"),
        ("node = 0", "cluster.node 0"),
        ("silence_seconds = 0.4", "cluster.silence_seconds 0.4"),
        ("silence_seconds = 61.0", "cluster.silence_seconds 61"),
        ("wait_seconds = 0", "cluster.wait_seconds 0"),
        (
            "round_limit_seconds = 86401",
            "cluster.round_limit_seconds 86401",
        ),
    ] {
        let error = refusal(cluster);
        assert!(
            error.starts_with(&format!("c.toml: {key} is not in")),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_endpoint_is_refused() {
    for endpoint in [
        "",
        "127.0.0.1:7401",
        "udp/127.0.0.1:7401",
        "tcp/127.0.0.1",
        "tcp/127.0.0.1:0",
        "tcp/127.0.0.1:65536",
        "tcp/:7401",
        "tcp/a b:7401",
        "tcp/[::1:7401",
        "tcp/127.0.0.1:7401#iface=eth0",
    ] {
        let error = refusal(&format!("connect = [{endpoint:?}]"));
        assert!(
            error.contains("write tcp/HOST:PORT or tls/HOST:PORT"),
            "{endpoint}: {error}"
        );
    }
}

/// Without certificates only loopback may be used, unless the config says otherwise.
#[test]
fn nothing_is_open_to_a_network_by_accident() {
    for host in ["0.0.0.0", "10.0.0.1", "[::]", "node-1", "localhost.example"] {
        for key in ["listen", "connect"] {
            let open = format!("{key} = [\"tcp/{host}:7401\"]");
            let error = refusal(&open);
            assert!(error.contains("can be reached by others"), "{error}");
            load(&format!("[cluster]\ninsecure = true\n{open}")).unwrap();
        }
    }
    for host in ["127.0.0.1", "127.1.2.3", "[::1]", "localhost"] {
        load(&format!("[cluster]\nlisten = [\"tcp/{host}:7401\"]")).unwrap();
    }
}

#[test]
fn endpoints_and_certificates_go_together() {
    let tls = "tls = { ca = 'a', certificate = 'c', key = 'k' }";
    let missing = refusal("listen = ['tls/10.0.0.1:7401']");
    assert!(missing.contains("needs certificates"), "{missing}");
    let unused = refusal(&format!("{tls}\nlisten = ['tcp/10.0.0.1:7401']"));
    assert!(
        unused.contains("would not use the certificates"),
        "{unused}"
    );
    load(&format!("[cluster]\n{tls}\nlisten = ['tls/10.0.0.1:7401']")).unwrap();
    let half = refusal("tls = { ca = 'a', key = 'k' }");
    assert!(half.contains("has no certificate"), "{half}");
}

fn parse(arguments: &[&str]) -> Result<Vec<String>, String> {
    let program = ["lsgd-train", "--config", "c.toml"];
    match Invocation::parse(program.iter().chain(arguments).copied()) {
        Ok(Invocation::Train(Train { set, .. })) => Ok(set),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn flags_stand_for_keys_and_set_wins() {
    let flags = [
        "--node",
        "2/4",
        "--connect",
        "tcp/a:1,tcp/b:2",
        "--set",
        "cluster.node=3",
    ];
    let expected = [
        "cluster.nodes=4",
        "cluster.node=2",
        r#"cluster.connect=["tcp/a:1", "tcp/b:2"]"#,
        "cluster.node=3",
    ];
    assert_eq!(parse(&flags).unwrap(), expected);
}

#[test]
fn a_node_that_is_none_is_refused() {
    for node in ["", "2", "2/", "/4", "two/4", "2/-4", "2/4/4"] {
        let error = parse(&["--node", node]).expect_err("refused");
        assert!(error.contains("such as 2/4"), "{error}");
    }
}

/// Keys in which nodes may differ.
const OWN: [&str; 10] = [
    "run.folder='elsewhere'",
    "data.folder='there'",
    "workers.threads=3",
    "workers.loaders=2",
    "compute.cpu_kernels=false",
    "evaluate.every_steps=7",
    "checkpoint.keep=5",
    "cluster.node=2",
    "cluster.wait_seconds=7",
    "run.overwrite=true",
];

/// Keys in which they may not, each with another value than its default.
const SHARED: [&str; 12] = [
    "workers.accumulate=2",
    "run.seed=9",
    "run.mode=async",
    "data.batch_size=7",
    "model.name=resnet8",
    "optimizer.momentum=0.5",
    "schedule.learning_rate=0.5",
    "method.local_pull=0.5",
    "method.max_staleness=7",
    "budget.epochs=3.0",
    "cluster.wire=bf16",
    "cluster.silence_seconds=7.5",
];

proptest! {
    /// Two nodes fit exactly when they differ in nothing that all share, and the description names
    /// the keys in which they do differ.
    #[test]
    fn the_description_has_what_nodes_share(
        own in prop::collection::btree_set(0..OWN.len(), 0..OWN.len()),
        shared in prop::collection::btree_set(0..SHARED.len(), 0..SHARED.len()),
    ) {
        let base = format!("[cluster]\nnodes = 2\nnode = 1\n{TWO}");
        let describe = |set: &[String]| {
            let config = Config::from_toml(&base, "c.toml", set).unwrap();
            config.description().unwrap()
        };
        let set: Vec<String> = own
            .iter()
            .map(|&index| OWN[index])
            .chain(shared.iter().map(|&index| SHARED[index]))
            .map(String::from)
            .collect();
        let (here, there) = (describe(&[]), describe(&set));
        let keys = here.keys().chain(there.keys());
        let differing: std::collections::BTreeSet<&str> = keys
            .filter(|key| here.get(*key) != there.get(*key))
            .map(String::as_str)
            .collect();
        let expected = shared.iter().filter_map(|&index| SHARED[index].split('=').next());
        prop_assert_eq!(differing, expected.collect());
        prop_assert!(here.values().all(|value| value.chars().count() <= 200));
    }
}
