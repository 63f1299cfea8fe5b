#!/usr/bin/env python3
"""Reads a run's metrics.tfevents with TensorBoard's own loader, and compares it with metrics.jsonl.

    pip install tensorboard
    lsgd-train --config configs/quickstart.toml --set record.tensorboard=true
    python3 scripts/check_tensorboard.py runs/quickstart
"""

import json
import math
import pathlib
import sys

import numpy as np
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray


def worker(of):
    return f"worker-{of['worker']}" if of["node"] == 0 else f"node-{of['node'] + 1}-worker-{of['worker']}"


def scalars(line):
    """The tags and values of a metrics line."""
    if line["kind"] == "interval":
        name = worker(line["worker"])
        yield f"training_loss/{name}", line["loss"]
        yield f"learning_rate/{name}", line["learning_rate"]
        return
    scored = [("leader", (line["leader"] or {}).get("test"))]
    scored += [(name, line.get(name)) for name in ["replica_mean", "ema", "lawa"]]
    scored += [(worker(of["worker"]), of["test"]) for of in line["workers"]]
    for name, score in scored:
        for metric, value in (score or {}).items():
            yield f"{metric}/{name}", value


def main():
    run = pathlib.Path(sys.argv[1])
    expected = {}
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        for tag, value in scalars(line):
            expected.setdefault(tag, []).append((line["step"], value))
    loader = EventAccumulator(str(run), tensor_size_guidance={"scalars": 0})
    loader.Reload()
    values = lambda tag: [(event.step, float(make_ndarray(event.tensor_proto))) for event in loader.Tensors(tag)]
    found = {tag: values(tag) for tag in loader.Tags()["tensors"]}
    if found.keys() != expected.keys():
        sys.exit(f"tags differ: {sorted(found.keys() ^ expected.keys())}")
    for tag, points in expected.items():
        if [step for step, _ in found[tag]] != [step for step, _ in points]:
            sys.exit(f"{tag}: steps differ")
        for (step, value), (_, read) in zip(points, found[tag]):
            value = math.nan if value is None else float(np.float32(value))
            if read != value and not (math.isnan(read) and math.isnan(value)):
                sys.exit(f"{tag} at step {step}: {read} instead of {value}")
    print(f"{len(found)} series, {sum(map(len, found.values()))} values: the same")


if __name__ == "__main__":
    main()
