#!/usr/bin/env python3
"""Measures memory: how much each worker adds to the peak (ResNet-20, batch 128, images of CIFAR's shape),
and whether a process grows over 2,000 steps of configs/smoke.toml.

    python scripts/bench_memory.py                (Linux: reads /proc)

The peak is the summary's peak_memory_bytes; the amount per worker is the slope of a line fitted to the
peaks of 1, 2 and 4 workers. Growth is the difference between the medians of resident memory in the first
and the last quarter of the run.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import bench_runs

WORKERS = (1, 2, 4)
SAMPLE_SECONDS = 0.05
MEGABYTE = 1e6


def peak(program, folder, model, workers, steps):
    settings = {
        **bench_runs.CIFAR_SHAPE,
        "model.name": model,
        "data.batch_size": 128,
        "data.examples": 1024,
        "workers.count": workers,
        "workers.devices": ["cpu"] * workers,
        "budget.steps": steps,
    }
    return bench_runs.train(program, folder, settings)["peak_memory_bytes"]


def slope(points):
    """Slope of the least-squares line through (x, y) pairs."""
    return statistics.linear_regression(*zip(*points)).slope


def resident(pid):
    """Resident memory of a process in bytes; None once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return 1024 * int(sizes[0]) if sizes else None


def smoke(program, folder, steps):
    """Resident memory during a run of the smoke model, and the run's own peak."""
    samples = []

    def watch(process):
        while (size := resident(process.pid)) is not None:
            samples.append(size)
            time.sleep(SAMPLE_SECONDS)

    config = bench_runs.ROOT / "configs" / "smoke.toml"
    summary = bench_runs.train(program, folder, {"budget.steps": steps}, config, watch)
    quarter = max(1, len(samples) // 4)
    first, last = (statistics.median(part) for part in (samples[:quarter], samples[-quarter:]))
    return {
        "samples": len(samples),
        "first_quarter_bytes": first,
        "last_quarter_bytes": last,
        "growth_bytes": last - first,
        "growth_bytes_a_step": (last - first) / (0.75 * summary["steps"]),
        "peak_memory_bytes": summary["peak_memory_bytes"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    bench_runs.options(parser)
    parser.set_defaults(rounds=3)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument(
        "--steps", type=bench_runs.positive, default=3, help="steps of each run that measures a peak [default: 3]"
    )
    parser.add_argument("--smoke-steps", type=bench_runs.positive, default=2000)
    arguments = parser.parse_args()

    program = bench_runs.binary(arguments)
    peaks = {workers: [] for workers in WORKERS}
    growths = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, arguments.rounds + 1):
            for workers, values in peaks.items():
                values.append(peak(program, folder, arguments.model, workers, arguments.steps))
            growths.append(smoke(program, folder, arguments.smoke_steps))
            bench_runs.progress(
                f"round {number}: peaks {[values[-1] for values in peaks.values()]}, "
                f"smoke {growths[-1]}"
            )

    medians = {workers: statistics.median(values) for workers, values in peaks.items()}
    per_worker = slope(medians.items())
    bench_runs.table(
        [f"{arguments.model}, batch 128", "peak memory, MB", "over workers"],
        [
            [
                f"{workers} workers" if workers > 1 else "1 worker",
                bench_runs.text(bench_runs.spread([v / MEGABYTE for v in values]), ".0f"),
                f"{medians[workers] / workers / MEGABYTE:.0f}",
            ]
            for workers, values in peaks.items()
        ]
        + [["each worker more (slope)", f"{per_worker / MEGABYTE:.0f}", ""]],
    )
    print()
    keys = ["first_quarter_bytes", "last_quarter_bytes", "growth_bytes", "peak_memory_bytes"]
    bench_runs.table(
        [f"smoke model, {arguments.smoke_steps} steps", "MB, median (least to most)"],
        [
            [
                key.removesuffix("_bytes").replace("_", " "),
                bench_runs.text(bench_runs.spread([g[key] / MEGABYTE for g in growths]), ".1f"),
            ]
            for key in keys
        ],
    )
    result = {
        "model": arguments.model,
        "batch_size": 128,
        "steps": arguments.steps,
        "rounds": arguments.rounds,
        "peak_memory_bytes": peaks,
        "peak_memory_bytes_per_worker": per_worker,
        "smoke_steps": arguments.smoke_steps,
        "smoke": growths,
    }
    bench_runs.write("memory", arguments, result)


if __name__ == "__main__":
    main()
