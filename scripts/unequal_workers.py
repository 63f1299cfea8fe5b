#!/usr/bin/env python3
"""Where workers are not alike: does it pay to follow a leader?

    cargo build --release
    python3 scripts/unequal_workers.py rates      # learning rates, on a seed of their own
    python3 scripts/unequal_workers.py plan       # writes configs/bench/unequal-workers/SETTING.toml: commit them
    python3 scripts/unequal_workers.py compare    # five seeds
    python3 scripts/unequal_workers.py table      # errors in %, with the 95 % interval over seeds

More words name the settings that are meant, such as `rates bad-labels drawn-rates`; else it is all of them. An
interrupted `rates` or `compare` goes on where it was. The results are in scripts/results/unequal-workers.

The error is the leader's at the end: of the worker with the lowest training loss, which needs no test labels
to find. A run whose workers have all diverged, or that has no leader, counts as guessing (90 %). In the table a +
or - marks an error that is above or below that of local_sgd beyond the paired 95 % interval, and a leader's
method that is below each method that averages, beyond that interval, is bold.
"""

import csv
import math
import os
import pathlib
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("LSGD_TRAIN", ROOT / "target/release/lsgd-train")
PLANS = ROOT / "configs/bench/unequal-workers"
RESULTS = ROOT / "scripts/results/unequal-workers"

SEEDS = [1, 2, 3, 4, 5]
# The seed on which rates are chosen.
TRIAL = 100
RATES = ["0.02", "0.05", "0.1", "0.2"]
GUESSING = 90.0
# Student's t, two-sided 95 %, by degrees of freedom.
T = {4: 2.776}

SYNC = {
    "sgd": [],
    "local_sgd": [],
    "easgd": [],
    "diloco": [],
    "dppf": ["method.local_pull=0.5", "method.push=0.05"],
    "grawa": ["method.local_pull=1.0"],
    "leader_mean": ["method.leader_weight=0.1"],
    "lsgd": ["method.local_pull=0.5"],
    "leader_filter": ["method.filter_margin=0.5"],
}
ASYNC = {
    "sgd": [],
    "local_sgd": [],
    "easgd": [],
    "downpour": [],
    "lsgd": ["method.local_pull=0.5"],
}
AVERAGING = ["local_sgd", "easgd", "diloco", "dppf", "grawa", "downpour"]
LEADERS = ["leader_mean", "lsgd", "leader_filter"]


@dataclass
class Setting:
    """What is the same for all methods of one comparison."""

    what: str
    keys: list = field(default_factory=list)
    # More keys, for each seed its own.
    drawn: object = None
    methods: dict = field(default_factory=lambda: SYNC)
    workers: int = 4
    epochs: int = 10
    how: str = "train"
    # Whether each method has a rate of its own, chosen on another seed.
    chosen: bool = True


def drawn_rates(seed):
    """Factors from 0.1 to 10 of a base rate, log-uniform."""
    draw = random.Random(seed)
    factors = [10 ** draw.uniform(-1, 1) for _ in range(4)]
    vary = ", ".join(f"{{ worker = {w}, learning_rate = {f:.3f} }}" for w, f in enumerate(factors))
    return [f"workers.vary=[{vary}]"]


def bad(key, value, workers=(3,)):
    """The last worker of four, counted from 0, or these."""
    table = "data" if key.endswith("noise") else "workers"
    entries = ", ".join(f"{{ worker = {worker}, {key} = {value} }}" for worker in workers)
    return [f"{table}.vary=[{entries}]"]


SETTINGS = {
    "alike": Setting("Workers that are all alike."),
    "bad-rate": Setting("One of four workers has ten times the rate.", bad("learning_rate", 10.0)),
    "bad-labels": Setting("One of four workers has random labels.", bad("label_noise", 1.0)),
    "bad-images": Setting("One of four workers has noise for images.", bad("image_noise", 1.0)),
    "bad-bits": Setting("A bit of one worker's gradient flips in every step.", bad("gradient_flips", 1)),
    "bad-uphill": Setting("One of four workers climbs.", bad("gradient_scale", -1.0)),
    "bad-labels-16": Setting(
        "Two of sixteen workers have random labels.", bad("label_noise", 1.0, (14, 15)), workers=16, epochs=40
    ),
    "bad-uphill-16": Setting(
        "Two of sixteen workers climb.", bad("gradient_scale", -1.0, (14, 15)), workers=16, epochs=40
    ),
    "drawn-rates": Setting(
        "Each worker has a rate of its own, drawn log-uniformly from 0.005 to 0.5; nobody searches for one.",
        ["schedule.learning_rate=0.05"],
        drawn=drawn_rates,
        chosen=False,
    ),
    "shards": Setting(
        "Each worker has data of its own: classes in shares of a Dirichlet distribution, 0.1.",
        ["data.split={ dirichlet = 0.1 }"],
    ),
    "slow": Setting(
        "No worker waits; one is four times slower, and the times of steps are log-normal with sigma 0.5.",
        [
            "run.mode=async",
            "simulate.step_seconds=0.1",
            "simulate.step_sigma=0.5",
            "simulate.slow_workers=1",
            "simulate.slow_factor=4.0",
        ],
        methods=ASYNC,
        how="simulate",
    ),
}

HEAD = """\
# {what}
# Written by scripts/unequal_workers.py, which runs it.

name = "{name}"
config = "configs/quickstart.toml"
how = "{how}"
set = [{common}]
seeds = {seeds}
workers = [{workers}]
periods = [4]
"""


def quoted(items):
    return ", ".join(f'"{item}"' for item in items)


def write(name, setting, seeds, cases, drawn=()):
    epochs = setting.epochs
    common = [
        f"budget.epochs={epochs}",
        f"evaluate.every_epochs={epochs}",
        "evaluate.batch_norm_batches=5",
        *setting.keys,
        *drawn,
    ]
    text = HEAD.format(
        what=setting.what,
        name=f"unequal-{name}",
        how=setting.how,
        common=quoted(common),
        seeds=seeds,
        workers=setting.workers,
    )
    for label, method, keys in cases:
        keys = [f"method.name={method}", *setting.methods[method], *keys]
        text += f'\n[[method]]\nlabel = "{label}"\nset = [{quoted(keys)}]\n'
    PLANS.mkdir(parents=True, exist_ok=True)
    (PLANS / f"{name}.toml").write_text(text)


def bench(name):
    plan = (PLANS / f"{name}.toml").relative_to(ROOT)
    subprocess.run([PROGRAM, "bench", plan], cwd=ROOT, check=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / f"runs/unequal-{name}/runs.csv", RESULTS / f"{name}.csv")


def parts(name, setting):
    """The bench files of a setting, with their seeds: where seeds have keys of their own, one for each."""
    if setting.drawn is None:
        return [(name, SEEDS, ())]
    return [(f"{name}-{seed}", [seed], setting.drawn(seed)) for seed in SEEDS]


def errors(name):
    """The last error of each run: label -> seed -> percent."""
    found = {}
    with open(RESULTS / f"{name}.csv") as file:
        for row in csv.DictReader(file):
            error = float(row["leader"]) if row["leader"] else GUESSING
            found.setdefault(row["label"], {})[int(row["seed"])] = min(error, GUESSING)
    return found


def rates(name, setting):
    if not setting.chosen:
        return
    cases = [(f"{m}-{r}", m, [f"schedule.learning_rate={r}"]) for m in setting.methods for r in RATES]
    write(f"rates-{name}", setting, [TRIAL], cases)
    bench(f"rates-{name}")


def plan(name, setting):
    def keys(method):
        if not setting.chosen:
            return []
        found = errors(f"rates-{name}")
        # Of equal ones the lowest.
        best = min(RATES, key=lambda rate: found[f"{method}-{rate}"][TRIAL])
        return [f"schedule.learning_rate={best}"]

    cases = [(method, method, keys(method)) for method in setting.methods]
    for part, seeds, drawn in parts(name, setting):
        write(part, setting, seeds, cases, drawn)


def compare(name, setting):
    for part, _, _ in parts(name, setting):
        bench(part)


def compared(name, setting):
    """The errors of all seeds: method -> list in the order of SEEDS."""
    found = {}
    for part, _, _ in parts(name, setting):
        for method, by_seed in errors(part).items():
            found.setdefault(method, {}).update(by_seed)
    return {method: [by_seed[seed] for seed in SEEDS] for method, by_seed in found.items()}


def interval(values):
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return mean, T[len(values) - 1] * spread / math.sqrt(len(values))


def gap(found, one, other):
    """By how much `one` is above `other`: 0 unless it is beyond the paired interval."""
    mean, half = interval([a - b for a, b in zip(found[one], found[other])])
    return mean if abs(mean) > half else 0.0


def cell(found, method):
    if method not in found:
        return ""
    mean, half = interval(found[method])
    above = gap(found, method, "local_sgd")
    text = f"{mean:.1f} ± {half:.1f}" + (" +" if above > 0 else " -" if above < 0 else "")
    averaging = [other for other in AVERAGING if other in found]
    ahead = method in LEADERS and all(gap(found, method, other) < 0 for other in averaging)
    return f"**{text}**" if ahead else text


def table(settings):
    done = {name: s for name, s in settings.items() if (RESULTS / f"{parts(name, s)[-1][0]}.csv").exists()}
    found = {name: compared(name, setting) for name, setting in done.items()}
    print("| method | " + " | ".join(done) + " |")
    print("|---" * (len(done) + 1) + "|")
    for method in {**SYNC, **ASYNC}:
        print(f"| `{method}` | " + " | ".join(cell(found[name], method) for name in done) + " |")


def main():
    command, *names = sys.argv[1:]
    settings = {name: SETTINGS[name] for name in names} or SETTINGS
    if command == "table":
        return table(settings)
    for name, setting in settings.items():
        {"rates": rates, "plan": plan, "compare": compare}[command](name, setting)


if __name__ == "__main__":
    main()
