//! Values out of range and keys at odds with each other, with the whole text of every refusal.

use super::{assert_refused, assert_set_refused, load, load_with, refusal};

#[test]
fn run() {
    let advice = "give one folder name, such as \"first\"; the folder above it is run.folder";
    let cases = [
        ("\"\"", "\"\" is empty"),
        ("\".\"", "\".\" is a path"),
        ("\"..\"", "\"..\" is a path"),
        ("\".a\"", "\".a\" begins with a dot, as hidden folders do"),
        ("\"a/b\"", "\"a/b\" is a path"),
        ("'a\\b'", "\"a\\\\b\" is a path"),
        ("\"a\\nb\"", "\"a\\nb\" has control characters"),
    ];
    for (value, problem) in cases {
        assert_eq!(
            refusal(&format!("run.name = {value}"), &[]),
            format!("c.toml: run.name {problem}; {advice}")
        );
    }
    let long = "a".repeat(256);
    assert_eq!(
        refusal(&format!("run.name = \"{long}\""), &[]),
        format!(
            "c.toml: run.name \"{}... is longer than 230 bytes; {advice}",
            &long[..79]
        )
    );
    load(&format!("run.name = \"{}\"", &long[..230]));
    load("run.name = \"a..b c\"");
    assert_refused(&[(
        "run.folder = \"\"",
        "c.toml: run.folder \"\" is empty; give a folder, such as \"runs\"",
    )]);
}

#[test]
fn data() {
    assert_refused(&[
        (
            "data.name = \"folder\"",
            "c.toml: data.folder is not given; data.name \"folder\" needs it; \
             set it to the folder that holds train and val",
        ),
        (
            "data.folder = \"\"",
            "c.toml: data.folder \"\" is empty; give the folder that holds the data set's files",
        ),
        (
            "data.batch_size = 0",
            "c.toml: data.batch_size 0 is not in [1, 65536]; \
             give a whole number from 1 to 65536",
        ),
        (
            "data.batch_size = 65537",
            "c.toml: data.batch_size 65537 is not in [1, 65536]; \
             give a whole number from 1 to 65536",
        ),
        (
            "data = { name = 'folder', folder = 'here', bad_images = 'skip', bad_images_limit = 0 }",
            "c.toml: data.bad_images_limit 0 is not in (0, 1]; give a number over 0, at most 1",
        ),
        (
            "data = { name = 'folder', folder = 'here', side = 513 }",
            "c.toml: data.side 513 is not in [16, 512]; give a whole number from 16 to 512",
        ),
        (
            "data.examples = 0",
            "c.toml: data.examples 0 is not in [1, 1000000]; \
             give a whole number from 1 to 1000000",
        ),
        (
            "data.classes = 1",
            "c.toml: data.classes 1 is not in [2, 65536]; give a whole number from 2 to 65536",
        ),
        (
            "data.classes = 65537",
            "c.toml: data.classes 65537 is not in [2, 65536]; give a whole number from 2 to 65536",
        ),
        (
            "data = { name = 'generated', shape = [3, 0, 32] }",
            "c.toml: data.shape [3, 0, 32] has 0, which is not in [1, 512]; \
             give channels, height, width",
        ),
        (
            "data = { name = 'generated', shape = [3, 32, 513] }",
            "c.toml: data.shape [3, 32, 513] has 513, which is not in [1, 512]; \
             give channels, height, width",
        ),
        (
            "data = { name = 'generated', shape = [257, 32, 32] }",
            "c.toml: data.shape [257, 32, 32] has 257, which is not in [1, 256]; \
             give channels, height, width",
        ),
        (
            "data = { name = 'generated', examples = 1000000 }",
            "c.toml: data.examples 1000000 times data.shape [3, 32, 32] is over 1073741824 \
             values; give fewer or smaller examples",
        ),
    ]);
    load("[data]\nname = \"folder\"\nfolder = \"imagenet\"\nbatch_size = 65536");
    load(
        "[data]\nname = \"generated\"\nexamples = 1000000\nshape = [2, 1, 512]\nclasses = 2\nbatch_size = 1",
    );
}

#[test]
fn model_and_optimizer() {
    assert_refused(&[
        (
            "model.width = 257",
            "c.toml: model.width 257 is not in [1, 256]; give a whole number from 1 to 256",
        ),
        (
            "model.width = 0",
            "c.toml: model.width 0 is not in [1, 256]; give a whole number from 1 to 256",
        ),
        (
            "model.dropout = 1",
            "c.toml: model.dropout 1 is not in [0, 1); give a number from 0 to less than 1",
        ),
        (
            "optimizer.clip_norm = 0",
            "c.toml: optimizer.clip_norm 0 is not in (0, inf); give a number over 0",
        ),
        (
            "optimizer = { clip_norm = 1, clip_value = 2 }",
            "c.toml: optimizer.clip_norm 1 is given together with optimizer.clip_value; \
             give one of them",
        ),
        (
            "optimizer.shift_rate = 0",
            "c.toml: optimizer.shift_rate 0 is not in (0, inf); give a number over 0",
        ),
        (
            "optimizer.shift_rate = 64\nmodel.name = \"cnn7\"",
            "c.toml: optimizer.shift_rate 64 makes no difference: model.name \"cnn7\" has no \
             normalisations; leave it out",
        ),
        (
            "loss.label_smoothing = 1",
            "c.toml: loss.label_smoothing 1 is not in [0, 1); give a number from 0 to less than 1",
        ),
        (
            "data.mixup = 0",
            "c.toml: data.mixup 0 is not in (0, 100]; give a number over 0, at most 100",
        ),
        (
            "data = { mixup = 0.5, batch_size = 1 }",
            "c.toml: data.mixup 0.5 needs data.batch_size of at least 2, since it mixes the images of a \
             batch; give a larger one, or leave it out",
        ),
        (
            "data = { cutmix = 1.0, batch_size = 1 }",
            "c.toml: data.cutmix 1 needs data.batch_size of at least 2, since it mixes the images of a \
             batch; give a larger one, or leave it out",
        ),
        (
            "data.holdout = 0",
            "c.toml: data.holdout 0 is not in (0, inf); give a number over 0",
        ),
        (
            "data.holdout = 2.5",
            "c.toml: data.holdout 2.5 is neither a share nor a number of images; give a number below 1, \
             or a whole one",
        ),
        (
            "data.augment = \"none\"\ndata.vary = [{ worker = 1, augment = false }]",
            "c.toml: data.vary[0].augment false makes no difference: data.augment is \"none\", and no \
             other key alters training images; set one, or leave this out",
        ),
        (
            "data.jitter = {}",
            "c.toml: data.jitter {} changes nothing; give brightness, contrast, saturation or hue, or \
             leave it out",
        ),
        (
            "data.name = \"digits\"\ndata.trivial_augment = true",
            "c.toml: data.trivial_augment true alters images of 256 levels, and data.name \"digits\" has \
             17; leave it out",
        ),
        (
            "data.jitter = { hue = 0.6 }",
            "c.toml: data.jitter.hue 0.6 is not in [0, 0.5]; give a number from 0 to 0.5",
        ),
        (
            "data.cutout = 0",
            "c.toml: data.cutout 0 is not in [1, 512]; give a whole number from 1 to 512",
        ),
        (
            "data.erasing = 1.5",
            "c.toml: data.erasing 1.5 is not in [0, 1]; give a number from 0 to 1",
        ),
        (
            "optimizer.momentum = 1.0",
            "c.toml: optimizer.momentum 1 is not in [0, 1); give a number from 0 to less than 1",
        ),
        (
            "optimizer.momentum = nan",
            "c.toml: optimizer.momentum NaN is not in [0, 1); give a number from 0 to less than 1",
        ),
        (
            "optimizer.weight_decay = -1e-4",
            "c.toml: optimizer.weight_decay -0.0001 is not in [0, inf); give a number from 0",
        ),
        (
            "optimizer.trust_coefficient = 0",
            "c.toml: optimizer.trust_coefficient 0 is not in (0, inf); give a number over 0",
        ),
        (
            "optimizer.weight_decay = inf",
            "c.toml: optimizer.weight_decay inf is not in [0, inf); give a number from 0",
        ),
        (
            "[optimizer]\nnesterov = true\nmomentum = 0",
            "c.toml: optimizer.nesterov true needs optimizer.momentum over 0; \
             set nesterov to false or momentum to 0.9",
        ),
    ]);
    load("[optimizer]\nmomentum = 0\nweight_decay = 0\n[model]\ndropout = 0");
}

#[test]
fn schedule() {
    assert_refused(&[
        (
            "schedule.learning_rate = 0",
            "c.toml: schedule.learning_rate 0 is not in (0, inf); give a number over 0",
        ),
        (
            "schedule.learning_rate = inf",
            "c.toml: schedule.learning_rate inf is not in (0, inf); give a number over 0",
        ),
        (
            "schedule.kind = \"steps\"",
            "c.toml: schedule.drops is not given; schedule.kind \"steps\" needs it; \
             give a list, such as [{ epochs = 80, factor = 0.1 }]",
        ),
        (
            "schedule.kind = \"cosine\"\nbudget.minutes = 10",
            "c.toml: schedule.kind \"cosine\" needs a known number of steps, which \
             budget.minutes 10 does not give; set budget.epochs or budget.steps instead",
        ),
        (
            "schedule.warmup = {}",
            "c.toml: schedule.warmup.epochs is not given; nor is schedule.warmup.steps; \
             give one of them",
        ),
        (
            "schedule.warmup = { epochs = 1, steps = 5 }",
            "c.toml: schedule.warmup.epochs 1 is given together with schedule.warmup.steps; \
             give one of them",
        ),
        (
            "schedule.warmup = { epochs = -1 }",
            "c.toml: schedule.warmup.epochs -1 is not in (0, 1000000000]; \
             give a number over 0, at most 1000000000",
        ),
        (
            "schedule.warmup = { steps = 0 }",
            "c.toml: schedule.warmup.steps 0 is not in [1, 1000000000000]; \
             give a whole number from 1 to 1000000000000",
        ),
    ]);
    load("schedule.kind = \"cosine\"\nbudget.steps = 10\nschedule.warmup = { steps = 5 }");
}

#[test]
fn drops() {
    let advice = "give drops in one unit, each later than the one before";
    let cases = [
        (
            "{ factor = 1 }",
            "[0].epochs is not given; nor is schedule.drops[0].steps; give one of them",
        ),
        (
            "{ epochs = 1, steps = 1, factor = 1 }",
            "[0].epochs 1 is given together with schedule.drops[0].steps; give one of them",
        ),
        (
            "{ steps = 1, factor = 0 }",
            "[0].factor 0 is not in (0, inf); give a number over 0",
        ),
        (
            "{ steps = 1, factor = inf }",
            "[0].factor inf is not in (0, inf); give a number over 0",
        ),
        (
            "{ steps = 0, factor = 1 }",
            "[0].steps 0 is not in [1, 1000000000000]; \
             give a whole number from 1 to 1000000000000",
        ),
        (
            "{ steps = 5, factor = 1 }, { steps = 5, factor = 1 }",
            &format!("[1].steps 5 is not after 5; {advice}"),
        ),
        (
            "{ epochs = 5.5, factor = 1 }, { epochs = 2, factor = 1 }",
            &format!("[1].epochs 2 is not after 5.5; {advice}"),
        ),
        (
            "{ epochs = 5, factor = 1 }, { steps = 9, factor = 1 }",
            &format!("[1].steps 9 is not in epochs like the one before; {advice}"),
        ),
        (
            "{ steps = 5, factor = 1 }, { epochs = 9, factor = 1 }",
            &format!("[1].epochs 9 is not in steps like the one before; {advice}"),
        ),
    ];
    for (drops, problem) in cases {
        assert_eq!(
            refusal(
                &format!("schedule = {{ kind = 'steps', drops = [{drops}] }}"),
                &[]
            ),
            format!("c.toml: schedule.drops{problem}")
        );
        assert_eq!(
            refusal(
                "",
                &["schedule.kind=steps", &format!("schedule.drops=[{drops}]")]
            ),
            format!("--set: schedule.drops{problem}")
        );
    }
    load(
        "schedule.kind = 'steps'\nschedule.drops = [{ steps = 5, factor = 0.1 }, { steps = 6, factor = 2 }]",
    );
}

#[test]
fn method() {
    assert_refused(&[
        (
            "method.local_pull = 1.5",
            "c.toml: method.local_pull 1.5 is not in [0, 1]; give a number from 0 to 1",
        ),
        (
            "method.global_pull = -0.1",
            "c.toml: method.global_pull -0.1 is not in [0, 1]; give a number from 0 to 1",
        ),
        (
            "method.final_pull = 1.5",
            "c.toml: method.final_pull 1.5 is not in [0, 1]; give a number from 0 to 1",
        ),
        (
            "method.quadratic_period = 0",
            "c.toml: method.quadratic_period 0 is not in (0, inf); give a number over 0",
        ),
        (
            "run.mode = \"async\"\nmethod.quadratic_period = 0.5",
            "c.toml: method.quadratic_period 0.5 applies only to run.mode \"sync\"; leave it out",
        ),
        (
            "method.quadratic_period = 0.5\nmethod.local_prox = 0.1",
            "c.toml: method.quadratic_period 0.5 changes the periods that method.local_prox and \
             method.global_prox are shares of; set those to 0, or leave this out",
        ),
        (
            "method.name = \"data_parallel\"\nworkers.vary = [{ worker = 1, learning_rate = 2 }]",
            "c.toml: method.name \"data_parallel\" has workers that would drift apart for good if \
             workers.vary gave one another learning_rate; leave that out",
        ),
        (
            "method.name = \"data_parallel\"\nworkers.vary = [{ worker = 1, weight_decay = 2 }]",
            "c.toml: method.name \"data_parallel\" has workers that would drift apart for good if \
             workers.vary gave one another weight_decay; leave that out",
        ),
        (
            "method.adopt_spread = 1.5",
            "c.toml: method.adopt_spread 1.5 is not in [0, 1]; give a number from 0 to 1",
        ),
        (
            "method.adopt_spread = 0.2",
            "c.toml: method.adopt_spread 0.2 has no effect while method.adopt is false; set that to true, or \
             leave this out",
        ),
        (
            "method.adopt = true\nworkers.vary = [{ worker = 0 }, { worker = 1, learning_rate = 1e4 }]",
            "c.toml: workers.vary[1].learning_rate 10000 is not within the bounds of what method.adopt \
             takes over; give a number from 0.001 to 1000, or leave method.adopt out",
        ),
        (
            "method.adopt = true\nworkers.vary = [{ worker = 1, weight_decay = 0 }]",
            "c.toml: workers.vary[0].weight_decay 0 is not within the bounds of what method.adopt takes \
             over; give a number from 0.001 to 1000, or leave method.adopt out",
        ),
        (
            "workers.vary = [{ worker = 1, weight_decay = -1 }]",
            "c.toml: workers.vary[0].weight_decay -1 is not in [0, inf); give a number from 0",
        ),
        (
            "optimizer = { name = \"adamw\", weight_decay = 0 }\n\
             workers.vary = [{ worker = 1, weight_decay = 2 }]",
            "c.toml: workers.vary[0].weight_decay 2 makes no difference: optimizer.name \"adamw\" has \
             optimizer.weight_decay 0; set that, or leave this out",
        ),
        (
            "method.quadratic_period = 0.5\nbudget.minutes = 10",
            "c.toml: method.quadratic_period 0.5 needs a known number of steps, which budget.minutes 10 \
             does not give; set budget.epochs or budget.steps instead",
        ),
        (
            "method.final_pull = 0.5\nbudget.minutes = 10",
            "c.toml: method.final_pull 0.5 needs a known number of steps, which \
             budget.minutes 10 does not give; set budget.epochs or budget.steps instead",
        ),
        (
            "cluster.wire = \"topk\"",
            "c.toml: cluster.wire \"topk\" sends changes since the last mean, and workers of method.name \
             \"lsgd\" do not begin there; use it with local_sgd, or use \"bf16\" or \"int8\"",
        ),
        (
            "cluster.wire = \"topk\"\nmethod.name = \"diloco\"",
            "c.toml: cluster.wire \"topk\" sends changes since the last mean, which momentum leads away from; \
             set method.outer_momentum 0.9 to 0, or use \"bf16\" or \"int8\"",
        ),
        (
            "cluster.wire = \"topk\"\nmethod = { name = \"diloco\", outer_momentum = 0, outer_learning_rate = 3 }",
            "c.toml: cluster.wire \"topk\" sends changes since the last mean, near which workers are to begin; \
             give method.outer_learning_rate 3 from 0.5 to 1.5, or use \"bf16\" or \"int8\"",
        ),
        (
            "run.mode = \"async\"\ncluster.wire = \"topk\"\nmethod.name = \"local_sgd\"",
            "c.toml: cluster.wire \"topk\" sends changes since the last mean of all, and in run.mode \"async\" \
             there is none; use \"bf16\" or \"int8\"",
        ),
        (
            "method.name = \"downpour\"",
            "c.toml: method.name \"downpour\" has workers that never meet, as all must in run.mode \
             \"sync\"; set run.mode to \"async\"",
        ),
        (
            "run.mode = \"async\"\nmethod = { name = \"easgd\", batch_norm = \"mean\" }",
            "c.toml: method.batch_norm \"mean\" needs a leader or a meeting of all workers, and \
             method.name \"easgd\" has neither in run.mode \"async\"; set it to \"own\"",
        ),
        (
            "method.probe_examples = 0",
            "c.toml: method.probe_examples 0 is not in [1, 16384]; give a whole number from 1 to 16384",
        ),
        (
            "method.margin = 1",
            "c.toml: method.margin 1 is not in [0, 1); give a number from 0 to less than 1",
        ),
        (
            "method.local_prox = nan",
            "c.toml: method.local_prox NaN is not in [0, 1]; give a number from 0 to 1",
        ),
        (
            "method.global_prox = 2",
            "c.toml: method.global_prox 2 is not in [0, 1]; give a number from 0 to 1",
        ),
        (
            "method.local_period = 0",
            "c.toml: method.local_period 0 is not in [1, 1000000000000]; \
             give a whole number from 1 to 1000000000000",
        ),
        (
            "method.global_period = 0",
            "c.toml: method.global_period 0 is not in [1, 1000000000000]; \
             give a whole number from 1 to 1000000000000",
        ),
        (
            "[method]\nlocal_period = 4\nglobal_period = 10",
            "c.toml: method.global_period 10 is not a multiple of method.local_period 4; \
             set it to 8 or 12",
        ),
        (
            "[method]\nglobal_period = 10",
            "c.toml: method.global_period 10 is not a multiple of method.local_period 16; \
             set it to 16",
        ),
        (
            "method.loss_window = 0",
            "c.toml: method.loss_window 0 is not in [1, 1000000]; \
             give a whole number from 1 to 1000000",
        ),
        (
            "method.name = \"leader_mean\"\nrun.mode = \"async\"",
            "c.toml: method.name \"leader_mean\" needs all workers to meet, \
             and in run.mode \"async\" they never do; set run.mode to \"sync\"",
        ),
        (
            "[method]\nname = \"local_sgd\"\nbatch_norm = \"leader\"",
            "c.toml: method.batch_norm \"leader\" needs a leader, \
             and method.name \"local_sgd\" has none; set it to \"own\" or \"mean\"",
        ),
    ]);
    load("[method]\nlocal_pull = 0\nglobal_pull = 1\nlocal_prox = 1\nglobal_prox = 0");
    load("[method]\nlocal_period = 1\nglobal_period = 1\nloss_window = 1\nmax_staleness = 0");
    load("[method]\nname = \"local_sgd\"\nbatch_norm = \"mean\"");
}

#[test]
fn workers() {
    assert_refused(&[
        (
            "workers.count = 0",
            "c.toml: workers.count 0 is not in [1, 1024]; give a whole number from 1 to 1024",
        ),
        (
            "workers.threads = 1025",
            "c.toml: workers.threads 1025 is not in [1, 1024]; \
             give a whole number from 1 to 1024",
        ),
        (
            "workers.loaders = 257",
            "c.toml: workers.loaders 257 is not in [1, 256]; give a whole number from 1 to 256",
        ),
        (
            "workers.accumulate = 0",
            "c.toml: workers.accumulate 0 is not in [1, 4096]; give a whole number from 1 to 4096",
        ),
        (
            "workers.devices = []",
            "c.toml: workers.devices [] has 0 entries; give one device a worker, from 1 to 1024",
        ),
        (
            "workers.devices = [\"cpu\", \"\"]",
            "c.toml: workers.devices [\"cpu\", \"\"] has an empty name; \
             give the name of a device, such as \"cpu\"",
        ),
        (
            "[workers]\ncount = 3\ndevices = [\"cpu\", \"cpu\"]",
            "c.toml: workers.count 3 is not the length of workers.devices, 2; \
             give one device a worker, or leave one of the two keys out",
        ),
    ]);
    load("[workers]\ncount = 2\ndevices = [\"cpu\", \"cpu\"]\nthreads = 1024");
}

#[test]
fn lengths() {
    assert_refused(&[
        (
            "[budget]\nepochs = 5\nsteps = 100",
            "c.toml: budget.epochs 5 is given together with budget.steps; give one of them",
        ),
        (
            "[budget]\nsteps = 100\nminutes = 1.5",
            "c.toml: budget.steps 100 is given together with budget.minutes; give one of them",
        ),
        (
            "budget.epochs = 0",
            "c.toml: budget.epochs 0 is not in (0, 1000000000]; \
             give a number over 0, at most 1000000000",
        ),
        (
            "budget.patience = 3\n[cluster]\nnode = 1\nnodes = 2\nconnect = ['tcp/127.0.0.1:1', 'tcp/127.0.0.1:2']",
            "c.toml: budget.patience 3 is of one node, which cannot end the run of others; \
             leave it out",
        ),
        (
            "budget.minutes = inf",
            "c.toml: budget.minutes inf is not in (0, 10000000]; \
             give a number over 0, at most 10000000",
        ),
        (
            "budget.steps = 0",
            "c.toml: budget.steps 0 is not in [1, 1000000000000]; \
             give a whole number from 1 to 1000000000000",
        ),
        (
            "[evaluate]\nevery_minutes = 5\nevery_epochs = 1",
            "c.toml: evaluate.every_epochs 1 is given together with evaluate.every_minutes; \
             give one of them",
        ),
        (
            "evaluate.every_steps = 0",
            "c.toml: evaluate.every_steps 0 is not in [1, 1000000000000]; \
             give a whole number from 1 to 1000000000000",
        ),
        (
            "evaluate.examples = 0",
            "c.toml: evaluate.examples 0 is not in [1, 1000000000]; \
             give a whole number from 1 to 1000000000",
        ),
        (
            "evaluate.batch_norm_batches = 0",
            "c.toml: evaluate.batch_norm_batches 0 is not in [1, 1000000]; \
             give a whole number from 1 to 1000000",
        ),
        (
            "average.ema_decay = 1",
            "c.toml: average.ema_decay 1 is not in (0, 1); give a number over 0, less than 1",
        ),
        (
            "average.window = 1",
            "c.toml: average.window 1 is not in [2, 100]; give a whole number from 2 to 100",
        ),
        (
            "[checkpoint]\nevery_steps = 5\nevery_minutes = 1",
            "c.toml: checkpoint.every_steps 5 is given together with checkpoint.every_minutes; \
             give one of them",
        ),
        (
            "checkpoint.every_epochs = -1",
            "c.toml: checkpoint.every_epochs -1 is not in (0, 1000000000]; \
             give a number over 0, at most 1000000000",
        ),
        (
            "checkpoint.keep = 0",
            "c.toml: checkpoint.keep 0 is not in [1, 1000000]; \
             give a whole number from 1 to 1000000",
        ),
    ]);
    load("[budget]\nminutes = 0.5\n[evaluate]\nevery_epochs = 0.25\n[checkpoint]\nkeep = 1");
}

/// A refusal names `--set` if one of the keys it is about was set there.
#[test]
fn overrides_are_named_as_such() {
    assert_set_refused(&[
        (
            "method.local_pull=1.5",
            "--set: method.local_pull 1.5 is not in [0, 1]; give a number from 0 to 1",
        ),
        (
            "data.name=folder",
            "--set: data.folder is not given; data.name \"folder\" needs it; \
             set it to the folder that holds train and val",
        ),
    ]);
    let file = "method.global_period = 64";
    assert_eq!(
        refusal(file, &["method.local_period=10"]),
        "--set: method.global_period 64 is not a multiple of method.local_period 10; \
         set it to 60 or 70"
    );
    assert_eq!(
        refusal("method.local_pull = 7", &["run.seed=2"]),
        "c.toml: method.local_pull 7 is not in [0, 1]; give a number from 0 to 1"
    );
    assert_eq!(
        load_with("method.local_pull = 7", &["method.local_pull=1"])
            .settings
            .method
            .local_pull,
        1.0
    );
}
