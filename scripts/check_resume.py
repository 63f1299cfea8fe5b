#!/usr/bin/env python3
"""Kills runs at random moments, continues them, and compares them with runs that were not interrupted.

    cargo build --release && scripts/check_resume.py scripts/results/resume.csv

For every method that runs in `sync`, on one node and on three, so many runs of the smoke config are killed
(SIGKILL, of all nodes at the same moment) three times each at random moments and started again by the same
command. Digests of all workers, every line of metrics.jsonl but for its time, and the summary's counts must
be those of the run that was not interrupted. One line a run is appended to the file; runs that are in it
are not repeated. Exits with 1 if any differs. `downpour`, which is asynchronous, has no bits to compare:
tests/program/resuming.rs checks that each of its workers has its own state again.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

METHODS = [
    "sgd", "data_parallel", "local_sgd", "easgd", "diloco", "slowmo",
    "lsgd", "lsgd_plus", "leader_mean", "grawa", "grawa_layers",
]
FIELDS = ["method", "nodes", "seed", "kills", "resumed_at", "same"]


def settings(method, nodes):
    """Pulls at every step where there are any, and checkpoints between exchanges."""
    settings = [
        "run.mode=sync", "run.overwrite=false", "data.examples=4096",
        f"budget.steps={96 if nodes > 1 else 192}", "evaluate.every_steps=24",
        "checkpoint.every_steps=5", "checkpoint.keep=1", f"method.name={method}",
    ]
    if method not in ("sgd", "data_parallel"):
        settings += ["method.local_period=4", "method.global_period=8"]
    if method in ("lsgd", "lsgd_plus"):
        settings += ["method.local_prox=0.1", "method.global_prox=0.1"]
    return settings


def command(program, folder, name, method, nodes):
    launch = ["launch", "--nodes", str(nodes)] if nodes > 1 else []
    words = [program, *launch, "--config", "configs/smoke.toml", "--quiet", "--resume"]
    for key in [f"run.folder={folder}", f"run.name={name}", *settings(method, nodes)]:
        words += ["--set", key]
    return words


def children(process):
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def kill(process, nodes):
    """Kills the run, all of its nodes at once."""
    for target in children(process.pid) if nodes > 1 else [process.pid]:
        try:
            os.kill(target, signal.SIGKILL)
        except OSError:
            pass
    process.communicate()


def interrupted(words, nodes, rng):
    """Runs to the end, killed up to three times on the way. Returns how often."""
    kills = 0
    while True:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if kills < 3:
            time.sleep(rng.uniform(0.4, 1.6) if nodes > 1 else rng.uniform(0.05, 0.8))
            if process.poll() is None and (nodes == 1 or children(process.pid)):
                kill(process, nodes)
                kills += 1
                continue
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(f"exit code {process.returncode}: {' '.join(words)}\n{errors}")
        return kills


def folders(folder, name, nodes):
    run = Path(folder, name)
    return [run / f"node-{node}" for node in range(1, nodes + 1)] if nodes > 1 else [run]


def lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def told(run):
    """What the run tells, but for times."""
    metrics = []
    for line in lines(run / "metrics.jsonl"):
        line.pop("seconds")
        metrics.append(json.dumps(line, sort_keys=True))
    summary = json.loads((run / "summary.json").read_text())
    counts = {key: summary[key] for key in ("digests", "steps", "samples", "epochs", "best")}
    exchange = {key: summary["exchange"][key] for key in ("count", "bytes")}
    return sorted(metrics), counts, exchange


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--program", default="target/release/lsgd-train")
    parser.add_argument("--runs", type=int, default=20, help="runs for each method and number of nodes")
    arguments = parser.parse_args()
    done = set()
    if arguments.results.exists():
        with open(arguments.results, newline="") as file:
            done = {(row["method"], row["nodes"], row["seed"]) for row in csv.DictReader(file)}
    differ = 0
    for nodes in (1, 3):
        for method in METHODS:
            seeds = [seed for seed in range(arguments.runs) if (method, str(nodes), str(seed)) not in done]
            if not seeds:
                continue
            with tempfile.TemporaryDirectory() as folder:
                whole = command(arguments.program, folder, "whole", method, nodes)
                subprocess.run(whole, check=True, stdout=subprocess.DEVNULL)
                expected = [told(run) for run in folders(folder, "whole", nodes)]
                for seed in seeds:
                    name = f"seed-{seed}"
                    rng = random.Random(f"{method} {nodes} {seed}")
                    words = command(arguments.program, folder, name, method, nodes)
                    kills = interrupted(words, nodes, rng)
                    runs = folders(folder, name, nodes)
                    same = [told(run) for run in runs] == expected
                    differ += not same
                    events = lines(runs[0] / "events.jsonl")
                    at = " ".join(str(e["step"]) for e in events if e["event"] == "resumed")
                    row = dict(zip(FIELDS, [method, nodes, seed, kills, at, same]))
                    is_new = not arguments.results.exists()
                    with open(arguments.results, "a", newline="") as file:
                        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
                        if is_new:
                            writer.writeheader()
                        writer.writerow(row)
    with open(arguments.results, newline="") as file:
        rows = list(csv.DictReader(file))
    for nodes in ("1", "3"):
        own = [row for row in rows if row["nodes"] == nodes]
        kills = sum(int(row["kills"]) for row in own)
        bad = sum(row["same"] != "True" for row in own)
        print(f"{nodes} node(s): {len(own)} runs, {kills} kills, {bad} differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
