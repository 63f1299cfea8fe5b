#!/usr/bin/env python3
"""Leader SGD (arXiv 1905.10395, Algorithm 1) in numpy, in float64, on a 2-D quadratic.

Writes lsgd.json beside itself: for each case the settings, and every worker's x after every step,
which `tests/algorithm/reference.rs` compares with the crate's. Needs numpy alone:

    python3 crates/lsgd-core/tests/reference/lsgd.py
"""

import json
import pathlib

import numpy as np

CURVATURE = np.array([1.0, 0.25])


def bottom(worker, step):
    """Where the quadratic of this worker's batch has its lowest point."""
    number = step * 37 + worker * 11
    return np.array([number * 7 % 19 / 16 - 0.5, number * 5 % 23 / 16 - 0.75])


def leader_of(workers, losses, window):
    """The lowest mean loss over the window; nobody before a window is full."""
    means = [np.mean(losses[w][-window:]) for w in workers if len(losses[w]) >= window]
    if len(means) < len(workers):
        return None
    ranked = sorted(means)
    assert len(ranked) < 2 or ranked[1] - ranked[0] > 1e-4, "too close to call in float32"
    return workers[int(np.argmin(means))]


def pull_at(case, key, step):
    """The pull itself, or half a cosine from it to the final one over the run."""
    first, last = case[key], case["final_pull"]
    if last is None:
        return first
    return last + (first - last) * (1 + np.cos(np.pi * step / case["steps"])) / 2


def run(case):
    nodes, per_node = case["nodes"], case["workers"]
    count = nodes * per_node
    node_of = [w // per_node for w in range(count)]
    x = [np.array([w + 1.0, 2.0 - w]) for w in range(count)]
    velocity = [None] * count
    losses = [[] for _ in range(count)]
    local = [None] * count  # last local leader received: (who, x)
    everyones = [None] * count  # last global leader received
    trace, leaders = [], []

    for step in range(1, case["steps"] + 1):
        for w in range(count):
            off = x[w] - bottom(w, step - 1)
            losses[w].append(0.5 * np.sum(CURVATURE * off * off))
            g = CURVATURE * off
            velocity[w] = g if velocity[w] is None else case["momentum"] * velocity[w] + g
            x[w] = x[w] - case["learning_rate"] * velocity[w]
            for last, prox, tau in (
                (everyones[w], case["global_prox"], case["global_period"]),
                (local[w], case["local_prox"], case["local_period"]),
            ):
                if last is not None and last[0] != w:
                    x[w] = x[w] - prox / tau * (x[w] - last[1])

        if step % case["local_period"] == 0:
            if case["method"] == "local_sgd":
                mean = sum(x[1:], x[0]) / count
                x = [mean.copy() for _ in x]
            else:
                published = [xw.copy() for xw in x]
                best = []
                for node in range(nodes):
                    mates = [w for w in range(count) if node_of[w] == node]
                    best.append(leader_of(mates, losses, case["loss_window"]))
                is_global = nodes > 1 and step % case["global_period"] == 0
                first = leader_of(best, losses, case["loss_window"]) if is_global and None not in best else None
                leaders.append([step, best, first])
                for w in range(count):
                    mine = best[node_of[w]]
                    if mine is not None:
                        local[w] = (mine, published[mine])
                        if mine != w:
                            x[w] = x[w] - pull_at(case, "local_pull", step) * (x[w] - published[mine])
                    if first is not None:
                        everyones[w] = (first, published[first])
                        if first != w:
                            x[w] = x[w] - pull_at(case, "global_pull", step) * (x[w] - published[first])
        trace.append([[round(float(v), 8) for v in xw] for xw in x])
    return trace, leaders


BASE = {
    "method": "lsgd", "nodes": 1, "workers": 4, "steps": 24, "learning_rate": 0.25, "momentum": 0.0,
    "local_pull": 0.3, "global_pull": 0.0, "local_period": 3, "global_period": 6,
    "local_prox": 0.0, "global_prox": 0.0, "loss_window": 2,
    "final_pull": None,
}

CASES = {
    "one node": {},
    "every step": {"local_period": 1, "loss_window": 1},
    "momentum": {"momentum": 0.9, "learning_rate": 0.0625},
    "full pull": {"local_pull": 1.0},
    "prox": {"local_prox": 0.6},
    "window fills late": {"loss_window": 7},
    "falling pull": {"local_pull": 0.8, "final_pull": 0.0},
    "rising pull of three nodes": {"nodes": 3, "workers": 2, "global_pull": 0.2, "final_pull": 0.9},
    "three nodes": {"nodes": 3, "workers": 2, "global_pull": 0.2},
    "one leader of three nodes": {"nodes": 3, "workers": 2, "local_pull": 0.0, "global_pull": 0.4},
    "three nodes, prox": {
        "nodes": 3, "workers": 2, "global_pull": 0.2, "local_prox": 0.5, "global_prox": 0.8,
        "momentum": 0.5, "learning_rate": 0.125,
    },
    "local SGD": {"method": "local_sgd"},
    "local SGD, momentum": {"method": "local_sgd", "momentum": 0.9, "learning_rate": 0.0625},
}


def main():
    stored = []
    for name, settings in CASES.items():
        case = BASE | settings
        trace, leaders = run(case)
        stored.append({"name": name} | case | {"leaders": leaders, "trace": trace})
    path = pathlib.Path(__file__).with_name("lsgd.json")
    lines = ",\n".join(json.dumps(case) for case in stored)
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
