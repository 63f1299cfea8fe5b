//! The engine's keys.

use super::key::{Entry, Field, Key, Kind, MAX_INTEGER, Range, TableDoc};

/// Longest run, in steps of a worker; multiplied by workers and batch it still fits in a u64.
const MAX_STEPS: u64 = 1_000_000_000_000;
/// Most workers of a node, and most threads of a worker.
pub(super) const MAX_WORKERS: usize = 1024;
/// Most nodes of a run.
const MAX_NODES: u64 = 4096;
/// Most loader threads of a worker.
const MAX_LOADERS: u64 = 256;
/// Most batches of a gradient step.
const MAX_ACCUMULATED: u64 = 1 << 12;
/// Most simulated nodes.
const MAX_SIMULATED: u64 = 1024;
/// Longest time to wait, in seconds: a day.
const MAX_WAIT: u64 = 86_400;
/// Most examples of a probe: every worker evaluates all of them every local period.
const MAX_PROBE: u64 = 1 << 14;
/// Longest loss window, in batches.
const MAX_WINDOW: u64 = 1_000_000;

/// Most replica means in a window: each is kept in memory and in every checkpoint.
pub(crate) const MAX_MEANS: u64 = 100;

const FRACTION: Kind = Kind::Number(Range::FRACTION);
const UNDER_ONE: Kind = Kind::Number(Range::from(0.0).under(1.0));
const OVER_ZERO: Kind = Kind::Number(Range::over(0.0));
const FROM_ONE: Kind = Kind::Number(Range::from(1.0));
/// A length, from 0.
const FROM_ZERO: Kind = Kind::Number(Range::from(0.0));
/// Steps of a worker.
const STEPS: Kind = Kind::up_to(MAX_STEPS);
/// Epochs of a run.
const EPOCHS: Kind = Kind::Number(Range::over(0.0).to(1e9));
/// Minutes of a run, up to nineteen years.
const MINUTES: Kind = Kind::Number(Range::over(0.0).to(1e7));
/// Seconds of the virtual clock, up to thirty years.
const SECONDS: Kind = Kind::Number(Range::from(0.0).to(1e9));
/// Bytes per second of a link; infinite if bytes take no time.
const SPEED: Kind = Kind::Number(Range::from(1.0).to(f64::INFINITY));

const METHODS: &[&str] = &[
    "sgd",
    "data_parallel",
    "local_sgd",
    "easgd",
    "downpour",
    "diloco",
    "slowmo",
    "lsgd",
    "lsgd_plus",
    "leader_mean",
    "leader_filter",
    "grawa",
    "grawa_layers",
    "dppf",
];
/// Methods whose workers are pulled.
const PULLING: &[&str] = &["lsgd", "lsgd_plus", "grawa", "grawa_layers", "dppf"];
/// Methods whose workers are pulled to a leader.
const FOLLOWING: &[&str] = &["lsgd", "lsgd_plus"];
/// Methods with a leader.
const LEADING: &[&str] = &["lsgd", "lsgd_plus", "leader_mean"];
/// Methods that rank the workers.
const RANKING: &[&str] = &["lsgd", "lsgd_plus", "leader_mean", "leader_filter"];
/// Methods with an outer step.
const OUTER: &[&str] = &["diloco", "slowmo"];

/// One entry of `schedule.drops`.
const DROP: Entry = Entry {
    fields: &[
        Field::new("epochs", EPOCHS),
        Field::new("steps", STEPS),
        Field::needed("factor", OVER_ZERO),
    ],
    example: "{ epochs = 80, factor = 0.1 }",
};

/// One entry of `workers.vary`.
const VARY: Entry = Entry {
    fields: &[
        Field::needed("worker", Kind::Whole(0, MAX_INTEGER)),
        Field::new("learning_rate", OVER_ZERO),
        Field::new("weight_decay", FROM_ZERO),
        Field::new("gradient_scale", Kind::Number(Range::from(-1e6).to(1e6))),
        Field::new("gradient_flips", Kind::Whole(0, 1 << 16)),
    ],
    example: "{ worker = 3, learning_rate = 10.0 }",
};

/// `schedule.warmup`
const SPAN: Entry = Entry {
    fields: &[Field::new("epochs", EPOCHS), Field::new("steps", STEPS)],
    example: "{ epochs = 5 } or { steps = 500 }",
};

/// `cluster.tls`
const TLS: Entry = Entry {
    fields: &[
        Field::needed("ca", Kind::Path),
        Field::needed("certificate", Kind::Path),
        Field::needed("key", Kind::Path),
    ],
    example: r#"{ ca = "ca.pem", certificate = "node.pem", key = "node.key" }"#,
};

/// One entry of `simulate.deaths`.
const DEATH: Entry = Entry {
    fields: &[
        Field::needed("worker", Kind::Whole(0, MAX_INTEGER)),
        Field::needed("seconds", SECONDS),
    ],
    example: "{ worker = 3, seconds = 60 }",
};

const fn table(name: &'static str, doc: &'static str) -> TableDoc {
    TableDoc { name, doc }
}

/// The engine's tables, in the order of the template.
pub(super) const TABLES: &[TableDoc] = &[
    table("run", ""),
    table("schedule", ""),
    table("method", ""),
    table("workers", ""),
    table(
        "budget",
        "one of the first three; --set of one takes the place of another",
    ),
    table(
        "evaluate",
        "one of the first three; the end is always evaluated",
    ),
    table(
        "average",
        "averages that are evaluated beside the leader and the replica mean; default: none",
    ),
    table(
        "checkpoint",
        "at most one of the first three; the end and the best are always kept",
    ),
    table(
        "faults",
        "workers that fail: each starts again from what was delivered last",
    ),
    table("record", ""),
    table(
        "cluster",
        "the other nodes; leave it out to train on this machine alone",
    ),
    table(
        "simulate",
        "what a simulated run is; seconds are those of its own clock",
    ),
];

/// The engine's keys.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    Key::new("run.name", Kind::Text, "the run is written to FOLDER/NAME: one folder name, no path"),
    Key::new("run.folder", Kind::Path, "folder of all runs"),
    Key::new("run.seed", Kind::Whole(0, MAX_INTEGER), "of everything random: initial weights, batches, augmentation, dropout"),
    Key::new("run.mode", Kind::Word(&["sync", "async"]), "\
\"sync\": workers meet after every local_period steps; the same config and
        seed give the same bits
\"async\": the total number of steps triggers an exchange, nobody waits"),
    Key::new("run.overwrite", Kind::Flag, "\
true: replace a run of the same name, once this one has a checkpoint; files
      in its folder that are not a run's stay"),

    Key::new("schedule.learning_rate", OVER_ZERO, "after warm-up and before any drop; the peak of \"one_cycle\""),
    Key::new("schedule.kind", Kind::Word(&["constant", "steps", "cosine", "polynomial", "one_cycle"]), "\
\"constant\"
\"steps\": multiplied by a factor at each of drops
\"cosine\": half a cosine from learning_rate to zero at the budget's end
\"polynomial\": learning_rate times a power of the share of the budget that is left
\"one_cycle\": a rise to learning_rate at peak and a fall to almost zero
the last three need a budget of epochs or steps"),
    Key::new("schedule.drops", Kind::Entries(&DROP), "\
a list in one unit, in order, such as
  [{ epochs = 80, factor = 0.1 }, { epochs = 120, factor = 0.1 }]
  or, in steps of a worker, [{ steps = 1000, factor = 0.1 }]; epochs are rounded up to whole steps")
        .used_if("schedule.kind", &["steps"]),
    Key::new("schedule.warmup", Kind::Entry(&SPAN), "linear rise from zero; or { steps = 500 }; default: none")
        .example("{ epochs = 5 }").used_unless("schedule.kind", &["one_cycle"]),
    Key::new("schedule.power", OVER_ZERO, "1.0 is a straight line to zero")
        .used_if("schedule.kind", &["polynomial"]),
    Key::new("schedule.peak", Kind::Number(Range::over(0.0).under(1.0)), "where in the budget the rate is highest")
        .used_if("schedule.kind", &["one_cycle"]),
    Key::new("schedule.anneal", Kind::Word(&["cosine", "linear"]), "shape of its rise and fall")
        .used_if("schedule.kind", &["one_cycle"]),
    Key::new("schedule.start_divisor", FROM_ONE, "it starts at learning_rate divided by this")
        .used_if("schedule.kind", &["one_cycle"]),
    Key::new("schedule.final_divisor", FROM_ONE, "it ends at its first rate divided by this")
        .used_if("schedule.kind", &["one_cycle"]),

    Key::new("method.name", Kind::Word(METHODS), "\
\"lsgd\": Leader SGD, workers are pulled toward whichever does best
\"lsgd_plus\": between exchanges toward m + c (z - m), mean m, leader z
\"leader_mean\": all move to m + c (z - m)
\"leader_filter\": all move to the mean of the leader and those nearly as good
\"local_sgd\": all move to the mean of all; in async, one by one, to a running mean
\"easgd\": all are pulled to a centre that follows the mean; in async it
         follows the workers as they come to it
\"downpour\": workers bring their steps to a centre and move to it
\"diloco\", \"slowmo\": the mean's way is the gradient of an outer step
\"grawa\": all are pulled to a mean in which small gradients count more
\"grawa_layers\": the same, layer by layer
\"dppf\": all are pulled to the mean, and pushed from it
\"data_parallel\": every step with the mean of all gradients
\"sgd\": workers that never talk
\"lsgd\", \"sgd\", \"local_sgd\" and \"easgd\" run in both modes, \"downpour\" in
async, all others in sync"),
    Key::new("method.local_pull", FRACTION, "lambda: pull strength toward the node's leader or mean")
        .used_if("method.name", PULLING),
    Key::new("method.global_pull", FRACTION, "lambda_G: toward the leader or mean of all nodes; unused by one node")
        .used_if("method.name", PULLING),
    Key::new("method.final_pull", FRACTION, "where both go over the budget, by half a cosine; default: they stay")
        .example("0.9").used_if("method.name", FOLLOWING),
    Key::new("method.local_period", STEPS, "tau: steps of a worker between local exchanges"),
    Key::new("method.global_period", STEPS, "tau_G: between global ones, a multiple of local_period; default 4 times it"),
    Key::new("method.quadratic_period", OVER_ZERO, "\
alpha: as the learning rate falls, local exchanges come every (alpha / rate)^2 steps where that is more than \
local_period, and at the end; needs sync and a budget of epochs or steps; default: every local_period")
        .example("0.5").used_unless("method.name", &["sgd", "data_parallel"]),
    Key::new("method.local_prox", FRACTION, "every step also pulls by local_prox / local_period")
        .used_if("method.name", FOLLOWING),
    Key::new("method.global_prox", FRACTION, "every step also pulls by global_prox / global_period")
        .used_if("method.name", FOLLOWING),
    Key::new("method.loss_window", Kind::up_to(MAX_WINDOW), "batches whose mean training loss ranks a worker"),
    Key::new("method.max_staleness", Kind::Whole(0, MAX_INTEGER), "steps; an older report cannot lead; default: twice the period")
        .example("32").used_if("method.name", &["lsgd"]),
    Key::new("method.batch_norm", Kind::Word(&["own", "leader", "mean"]), "\
running statistics of BatchNorm
\"own\": each worker keeps its own
\"leader\": they are pulled like parameters
\"mean\": they are set to the workers' mean")
        .used_unless("method.name", &["sgd"]),
    Key::new("method.rank_by", Kind::Word(&["training_loss", "probe_loss"]), "\
what ranks the workers
\"training_loss\": over loss_window
\"probe_loss\": on training examples that are held out, for all the same")
        .used_if("method.name", RANKING),
    Key::new("method.probe_examples", Kind::up_to(MAX_PROBE), "how many are held out")
        .used_if("method.rank_by", &["probe_loss"]),
    Key::new("method.margin", UNDER_ONE, "a leader stays until another's loss is lower by this share of its own")
        .used_if("method.name", LEADING),
    Key::new("method.adopt", Kind::Flag, "\
true: a worker that is pulled to a leader also takes over its factors of learning rate and weight decay, \
with a random change
they begin as in workers.vary, otherwise at 1")
        .used_if("method.name", LEADING),
    Key::new("method.adopt_spread", FRACTION, "standard deviation of the natural logarithm of that change")
        .used_if("method.name", LEADING),
    Key::new("method.beta", FRACTION, "each of W workers is pulled to the centre by beta / W")
        .used_if("method.name", &["easgd"]),
    Key::new("method.leader_weight", FRACTION, "c of m + c (z - m)")
        .used_if("method.name", &["lsgd_plus", "leader_mean"]),
    Key::new("method.filter_margin", Kind::Number(Range::from(0.0).to(f64::INFINITY)), "\
a worker whose loss exceeds the lowest by more than this share of it has no part in the mean; inf: all have")
        .used_if("method.name", &["leader_filter"]),
    Key::new("method.push", FROM_ZERO, "lambda: length of the push from the mean; lambda / local_pull is where it stops")
        .used_if("method.name", &["dppf"]),
    Key::new("method.outer_learning_rate", OVER_ZERO, "learning rate of the outer step; default for slowmo: 1.0")
        .used_if("method.name", OUTER),
    Key::new("method.outer_momentum", UNDER_ONE, "its momentum; default for slowmo: 0.5")
        .used_if("method.name", OUTER),

    Key::new("workers.count", Kind::up_to(MAX_WORKERS as u64), "workers on this node; default: one a device")
        .example("4"),
    Key::new("workers.devices", Kind::Devices, "\
\"auto\": GPUs if the build and the machine have any, else the CPU
or one name a worker, such as [\"cpu\", \"cpu\"] or [\"wgpu:0\", \"wgpu:1\"]"),
    Key::new("workers.threads", Kind::up_to(MAX_WORKERS as u64), "compute threads per worker on the CPU"),
    Key::new("workers.loaders", Kind::up_to(MAX_LOADERS), "\
threads per worker that prepare its batches, which do not depend on how many; \
each holds a batch more in memory; default: the processors, shared by the workers, at most 4")
        .example("4"),
    Key::new("workers.accumulate", Kind::up_to(MAX_ACCUMULATED), "\
batches of each gradient step, one after another, whose mean gradient it takes: as one batch of so many \
times the examples, but for BatchNorm, in the memory of one"),

    Key::new("workers.vary", Kind::Entries(&VARY), "\
workers that train differently, for experiments, counted over all nodes; or tables [[workers.vary]]
worker = 3
learning_rate = 10.0   # times the schedule's
weight_decay = 0.5     # times the optimizer's
gradient_scale = -1.0  # times every gradient
gradient_flips = 1     # random bits of the gradient that are flipped in every step"),

    Key::new("budget.epochs", EPOCHS, "\
of the whole data, shared by all workers; rounded down to whole steps; \
the default, if none of the three is given")
        .example("1.0"),
    Key::new("budget.steps", STEPS, "per worker (async: their mean)").example("1000"),
    Key::new("budget.minutes", MINUTES, "of training; ends the run, never changes its arithmetic").example("10.0"),
    Key::new("budget.patience", Kind::up_to(MAX_WINDOW), "\
also end a run of one node at the evaluation that uses it up, the last of so many in a row that are not \
the best so far by the main metric; default: never")
        .example("10"),

    Key::new("evaluate.every_epochs", EPOCHS, "epochs of the whole data; the default, if none of the three is given")
        .example("1.0"),
    Key::new("evaluate.every_steps", STEPS, "steps of a worker").example("500"),
    Key::new("evaluate.every_minutes", MINUTES, "minutes of training").example("5.0"),
    Key::new("evaluate.examples", Kind::up_to(1_000_000_000), "test examples to use; default: all").example("1000"),
    Key::new("evaluate.batch_norm_batches", Kind::up_to(MAX_WINDOW), "training batches that estimate a mean's BatchNorm statistics anew"),

    Key::new("average.ema_decay", Kind::Number(Range::over(0.0).under(1.0)), "exponential moving average of each worker's parameters, over its steps")
        .example("0.999"),
    Key::new("average.window", Kind::Whole(2, MAX_MEANS), "mean of the replica means at so many last evaluations (LAWA)").example("5"),
    Key::new("checkpoint.every_epochs", EPOCHS, "epochs of the whole data; default: only the end and the best")
        .example("1.0"),
    Key::new("checkpoint.every_steps", STEPS, "steps of a worker").example("500"),
    Key::new("checkpoint.every_minutes", MINUTES, "minutes of training").example("5.0"),
    Key::new("checkpoint.keep", Kind::up_to(MAX_WINDOW), "how many of these are kept"),

    Key::new("faults.restarts", Kind::Whole(0, MAX_WINDOW), "how often a worker may fail before the others go on without it"),
    Key::new("faults.bad_steps", Kind::up_to(MAX_WINDOW), "a worker fails after so many steps without a finite loss").example("32"),

    Key::new("record.tensorboard", Kind::Flag, "also write the metrics to metrics.tfevents, for TensorBoard"),

    Key::new("cluster.node", Kind::up_to(MAX_NODES), "which node this is, from 1; --node 1/4 gives both").example("1"),
    Key::new("cluster.nodes", Kind::up_to(MAX_NODES), "all have the same config but for node, paths and devices"),
    Key::new("cluster.connect", Kind::Endpoints, "endpoints of all nodes, in order: tcp/HOST:PORT, or tls/HOST:PORT"),
    Key::new("cluster.listen", Kind::Endpoints, "where this node can be reached; default: its own entry of connect"),
    Key::new("cluster.wire", Kind::Word(&["f32", "bf16", "int8", "topk"]), "\
values that nodes exchange are rounded, once, by the node that offers them
\"bf16\": 2 bytes each
\"int8\": parameters in blocks of 32, 33 bytes a block, at random without bias
\"topk\": changes of which one parameter in 64 crosses, in 2.5 bytes; the others add up until they do"),
    Key::new("cluster.tls", Kind::Entry(&TLS), "needed by tls/")
        .example(r#"{ ca = "ca.pem", certificate = "node.pem", key = "node.key" }"#),
    Key::new("cluster.insecure", Kind::Flag, "true allows tcp/ endpoints that others on the network can reach"),
    Key::new("cluster.silence_seconds", Kind::Number(Range::from(0.5).to(60.0)), "how long this node may be silent before the others take it for dead; more where packets are lost"),
    Key::new("cluster.wait_seconds", Kind::up_to(MAX_WAIT), "how long to wait for all nodes at the start"),
    Key::new("cluster.round_limit_seconds", Kind::up_to(MAX_WAIT), "sync: how long the others wait for a node that makes no progress"),

    Key::new("simulate.nodes", Kind::up_to(MAX_SIMULATED), "each of workers.count workers"),
    Key::new("simulate.training", Kind::Flag, "false: nobody trains, only what it costs is counted"),
    Key::new("simulate.step_seconds", Kind::Number(Range::over(0.0).to(1e9)), "median time of a worker's step, with all its batches"),
    Key::new("simulate.step_sigma", Kind::Number(Range::from(0.0).to(3.0)), "log-normal times of this sigma; 0: all the same"),
    Key::new("simulate.slow_workers", Kind::Whole(0, MAX_SIMULATED * MAX_WORKERS as u64), "so many workers, the last ones, take"),
    Key::new("simulate.slow_factor", Kind::Number(Range::over(0.0).to(1e9)), "so many times as long"),
    Key::new("simulate.latency_seconds", SECONDS, "between nodes"),
    Key::new("simulate.bytes_per_second", SPEED, "each node can send as many and receive as many").example("125e6"),
    Key::new("simulate.local_latency_seconds", SECONDS, "between a worker and its node's leader"),
    Key::new("simulate.local_bytes_per_second", SPEED, "likewise").example("10e9"),
    Key::new("simulate.deaths", Kind::Entries(&DEATH), "such as [{ worker = 3, seconds = 60 }], workers counted over all nodes"),
];

#[cfg(test)]
mod tests;
