#!/usr/bin/env python3
"""The evaluations of a run as a small table for scripts/results: error in % of the leader, the replica mean and the
workers (their mean), by step, epoch, samples and seconds of training. `lsgd-train report RUN --csv FILE` writes
every line of a run; this is what fits into a repository.

    python scripts/evaluations.py runs/cifar10-2-cores > scripts/results/cifar10-2-cores/cifarnet.csv
"""

import json
import statistics
import sys
from pathlib import Path


def error(score):
    """A score's error with two decimals; empty if it is not finite or there is no such model."""
    value = (score or {}).get("error")
    return "" if value is None else f"{value:.2f}"


def rows(lines):
    yield "step,epoch,samples,seconds,leader,replica_mean,worker_mean"
    for line in map(json.loads, lines):
        if line["kind"] != "evaluation":
            continue
        workers = [(worker["test"] or {}).get("error") for worker in line["workers"]]
        finite = [value for value in workers if value is not None]
        mean = f"{statistics.fmean(finite):.2f}" if finite else ""
        leader = error((line.get("leader") or {}).get("test"))
        yield (
            f"{line['step']},{line['epoch']:.3f},{line['samples']},{line['seconds']:.1f},"
            f"{leader},{error(line.get('replica_mean'))},{mean}"
        )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(Path(sys.argv[1]) / "metrics.jsonl") as records:
        print("\n".join(rows(records)))
