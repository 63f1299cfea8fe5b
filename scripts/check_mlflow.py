#!/usr/bin/env python3
"""Reads a store that `report --mlflow` has written with MLflow itself, and compares a run in it with the run's own
folder: every value of metrics.jsonl with its step, every key of config.toml, the state and the times.

    pip install mlflow-skinny
    lsgd-train --config configs/quickstart.toml
    lsgd-train report runs/quickstart --mlflow store
    python3 scripts/check_mlflow.py runs/quickstart store
"""

import datetime
import json
import math
import os
import pathlib
import sys
import tomllib

# MLflow 3 asks for it before it opens a store of files.
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient
from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, MAX_PARAM_VAL_LENGTH

EXPERIMENT = "Leader SGD"


def worker(of):
    return f"worker-{of['worker']}" if of["node"] == 0 else f"node-{of['node'] + 1}-worker-{of['worker']}"


def figures(line):
    """The names and values of a metrics line."""
    if line["kind"] == "interval":
        name = worker(line["worker"])
        yield f"training_loss/{name}", line["loss"]
        yield f"learning_rate/{name}", line["learning_rate"]
        yield f"interval_steps/{name}", line["steps"]
        return
    for name in ["epoch", "samples", "examples"]:
        yield f"run/{name}", line[name]
    yield "run/was_due", line.get("was_due", True)
    leader = line["leader"]
    if leader:
        yield "run/leader_node", leader["worker"]["node"]
        yield "run/leader_worker", leader["worker"]["worker"]
        if leader["training_loss"] is not None:
            yield "window_loss/leader", leader["training_loss"]
    for of in line["workers"]:
        if of.get("step") is not None:
            yield f"step/{worker(of['worker'])}", of["step"]
        if of["training_loss"] is not None:
            yield f"window_loss/{worker(of['worker'])}", of["training_loss"]
    scored = [("leader", (leader or {}).get("test"))]
    scored += [(name, line.get(name)) for name in ["replica_mean", "ema", "lawa"]]
    scored += [(worker(of["worker"]), of["test"]) for of in line["workers"]]
    for name, score in scored:
        for metric, value in (score or {}).items():
            yield f"{metric}/{name}", value


def keys(table, before=""):
    """The keys of a config with their values, as MLflow is to have them."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from keys(value, f"{before}{name}.")
        else:
            yield before + name, value


def milliseconds(time):
    return round(datetime.datetime.fromisoformat(time).timestamp() * 1000)


def same(found, value):
    value = math.nan if value is None else float(value)
    return found == value or (math.isnan(found) and math.isnan(value))


def entry(client, run, config):
    """The entry of the run, which has to be the only one of its name."""
    name = config["run"]["name"] + (f" {run.name}" if run.name.startswith("node-") else "")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
    found = [of for of in runs if of.info.run_name == name]
    if len(found) != 1:
        sys.exit(f"{len(found)} entries of {name} among {[of.info.run_name for of in runs]}")
    return found[0]


def check_params(found, config):
    expected = dict(keys(config))
    if found.keys() != expected.keys():
        sys.exit(f"params differ: {sorted(found.keys() ^ expected.keys())}")
    for name, value in expected.items():
        if len(name) > MAX_ENTITY_KEY_LENGTH or len(found[name]) > MAX_PARAM_VAL_LENGTH:
            sys.exit(f"{name}: longer than MLflow takes")
        text = found[name]
        if not isinstance(value, str):
            text = tomllib.loads(f"value = {text}")["value"]
        if text != value:
            sys.exit(f"{name}: {found[name]!r} instead of {value!r}")


def main():
    run, store = map(pathlib.Path, sys.argv[1:])
    config = tomllib.loads((run / "config.toml").read_text())
    record = json.loads((run / "run.json").read_text())
    client = MlflowClient(str(store.resolve()))
    found = entry(client, run, config)
    check_params(found.data.params, config)

    start = milliseconds(record["start"])
    # Only of a run that is over: otherwise it is that of an earlier stop.
    is_over = found.data.tags["state"] in ["ended", "stopped", "diverged"]
    end = milliseconds(record["end"]) if is_over else None
    if (found.info.start_time, found.info.end_time) != (start, end):
        sys.exit(f"times: {found.info.start_time} to {found.info.end_time} instead of {start} to {end}")
    state = found.data.tags["state"]
    expected = {"ended": "FINISHED", "stopped": "KILLED", "killed": "KILLED", "diverged": "FAILED",
                "broken off": "FAILED"}.get(state, "RUNNING")
    if found.info.status != expected:
        sys.exit(f"the state {state} is {found.info.status} instead of {expected}")
    if found.data.tags["version"] != record["version"]:
        sys.exit(f"the version is {found.data.tags['version']}")

    expected = {}
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        at = start + line["seconds"] * 1000
        for name, value in figures(line):
            expected.setdefault(name, []).append((line["step"], at, value))
    if found.data.metrics.keys() != expected.keys():
        sys.exit(f"metrics differ: {sorted(found.data.metrics.keys() ^ expected.keys())}")
    for name, points in expected.items():
        history = client.get_metric_history(found.info.run_id, name)
        if [of.step for of in history] != [step for step, _, _ in points]:
            sys.exit(f"{name}: steps differ")
        for of, (step, at, value) in zip(history, points):
            if not same(of.value, value):
                sys.exit(f"{name} at step {step}: {of.value} instead of {value}")
            if abs(of.timestamp - at) > 1:
                sys.exit(f"{name} at step {step}: at {of.timestamp} instead of {at}")
    values = sum(map(len, expected.values()))
    print(f"{len(found.data.params)} params, {len(expected)} metrics, {values} values: the same")


if __name__ == "__main__":
    main()
