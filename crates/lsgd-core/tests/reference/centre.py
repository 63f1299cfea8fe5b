#!/usr/bin/env python3
"""Asynchronous EASGD, local SGD and DOWNPOUR in numpy, in float64, on the 2-D quadratic of lsgd.py.

Writes centre.json beside itself: for each case the settings, and every worker's x after every step,
which `tests/algorithm/centre.rs` compares with the crate's. Workers take turns in rank order. `delay`
is how many of its own steps a worker takes before it hears of the centre it has asked for: 0, as
threads of a process do, or 1. With several nodes, each has a centre, and every global_period steps each
moves half way to that of the next node, as that was when the node's last worker reported its step and
had not come to it yet.

    python3 crates/lsgd-core/tests/reference/centre.py
"""

import json
import pathlib

import numpy as np

from lsgd import CURVATURE, bottom


class Worker:
    def __init__(self, start):
        self.x, self.base, self.heard, self.velocity = start.copy(), start.copy(), None, np.zeros(2)


def obey(case, worker, centre):
    """What a worker does once it hears of the centre; returns the centre after it."""
    told, brought = worker.heard
    worker.heard = None
    if case["method"] == "easgd":
        d = case["beta"] / case["workers"] * (worker.x - told)
        worker.x = worker.x - d
        return centre + d
    if case["method"] == "local_sgd":
        # The mean of W equal shares takes x for one of them, and the worker goes on from there.
        d = (worker.x - told) / case["workers"]
        worker.x = told + d
        return centre + d
    worker.x = worker.x + (told - brought)
    worker.base = told
    return centre


def run(case):
    nodes, per_node = case["nodes"], case["workers"]
    start = np.array([1.0, 2.0])
    workers = [Worker(start) for _ in range(nodes * per_node)]
    centres = [start.copy() for _ in range(nodes)]
    bids = [None] * nodes
    trace = []
    for step in range(1, case["steps"] + 1):
        for number, worker in enumerate(workers):
            node = number // per_node
            gradient = CURVATURE * (worker.x - bottom(number, step - 1))
            worker.velocity = case["momentum"] * worker.velocity + gradient
            worker.x = worker.x - case["learning_rate"] * worker.velocity
            if worker.heard is not None:
                centres[node] = obey(case, worker, centres[node])
            if step % case["local_period"] == 0:
                bids[node] = centres[node].copy()
                if case["method"] == "downpour":
                    centres[node] = centres[node] + (worker.x - worker.base)
                worker.heard = centres[node].copy(), worker.x.copy()
                if case["delay"] == 0:
                    centres[node] = obey(case, worker, centres[node])
        if nodes > 1 and step % case["global_period"] == 0:
            for node in range(nodes):
                centres[node] = centres[node] + 0.5 * (bids[(node + 1) % nodes] - centres[node])
        trace.append([[round(float(v), 8) for v in worker.x] for worker in workers])
    return trace


BASE = {
    "method": "easgd", "nodes": 1, "workers": 4, "steps": 24, "learning_rate": 0.25, "momentum": 0.0,
    "local_period": 3, "global_period": 6, "beta": 0.43, "delay": 0,
}
MOMENTUM = {"momentum": 0.9, "learning_rate": 0.0625}

CASES = [
    {},
    {"workers": 1, "beta": 0.9},
    {"workers": 3, "local_period": 1, **MOMENTUM},
    {"delay": 1},
    {"nodes": 3, "workers": 2},
    {"method": "local_sgd"},
    {"method": "local_sgd", "workers": 3, "local_period": 1, **MOMENTUM},
    {"method": "local_sgd", "delay": 1},
    {"method": "local_sgd", "nodes": 3, "workers": 2},
    {"method": "downpour", "learning_rate": 0.05},
    {"method": "downpour", "workers": 1},
    {"method": "downpour", "workers": 3, "local_period": 1, **MOMENTUM},
    {"method": "downpour", "learning_rate": 0.05, "delay": 1},
    {"method": "downpour", "nodes": 3, "workers": 2, "learning_rate": 0.05},
]


def main():
    stored = []
    for settings in CASES:
        case = BASE | settings
        stored.append(case | {"trace": run(case)})
    path = pathlib.Path(__file__).with_name("centre.json")
    lines = ",\n".join(json.dumps(case) for case in stored)
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
