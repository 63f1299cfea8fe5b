#!/usr/bin/env python3
"""Measures images/s of ResNet-20 on images of CIFAR's shape at batch 128: lsgd-train with one and two
workers of one thread each, and PyTorch on the same machine at the same time.

    python scripts/bench_throughput.py            (needs torch)

A step is forward, backward and SGD with momentum 0.9. For lsgd-train the figure is the summary's
samples_per_second, which includes data, augmentation and exchanges (every 4 steps, so that a short run has
some; the default is 16) but not set-up and evaluation. PyTorch gets a prepared batch, and its first step is
not timed. All are run one after another in every round; ratios are taken within a round.
"""

import argparse
import tempfile

import bench_runs
import torch_steps
from torch_steps import BATCH_SIZE

SIDE = 32
# name -> (processes, threads of each)
PYTORCH = {
    "PyTorch, 1 thread": (1, 1),
    "PyTorch, 2 threads": (1, 2),
    "PyTorch, 2 processes": (2, 1),
}
WORKERS = {"lsgd-train, 1 worker": 1, "lsgd-train, 2 workers": 2}
SCALING = "lsgd-train, 2 workers / lsgd-train, 1 worker"
WANTED = 1.7  # target for SCALING, on two otherwise idle cores
RATIOS = [
    ("lsgd-train, 2 workers", "lsgd-train, 1 worker"),
    ("PyTorch, 2 processes", "PyTorch, 1 thread"),
    ("PyTorch, 2 threads", "PyTorch, 1 thread"),
    ("lsgd-train, 1 worker", "PyTorch, 1 thread"),
    ("lsgd-train, 2 workers", "PyTorch, 2 threads"),
    ("lsgd-train, 2 workers", "PyTorch, 2 processes"),
]


def pytorch(arguments, processes, threads):
    words = ["--pytorch-threads", threads, "--model", arguments.model, "--steps", arguments.steps]
    return torch_steps.speed(words, processes, arguments.steps)


def lsgd(arguments, program, folder, workers):
    settings = {
        **bench_runs.CIFAR_SHAPE,
        "model.name": arguments.model,
        "data.batch_size": BATCH_SIZE,
        "method.local_period": 4,
        "method.loss_window": 4,
        "workers.count": workers,
        "workers.devices": ["cpu"] * workers,
        "budget.steps": arguments.steps,
    }
    return bench_runs.train(program, folder, settings)["samples_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    bench_runs.options(parser)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument(
        "--steps", type=bench_runs.positive, default=12, help="steps of each run [default: 12]"
    )
    parser.add_argument("--pytorch-threads", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pytorch_threads:
        threads = arguments.pytorch_threads
        return torch_steps.process(arguments.model, SIDE, arguments.steps, threads)

    program = bench_runs.binary(arguments)
    measured = {name: [] for name in [*WORKERS, *PYTORCH]}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, arguments.rounds + 1):
            for name, workers in WORKERS.items():
                measured[name].append(lsgd(arguments, program, folder, workers))
            for name, (processes, threads) in PYTORCH.items():
                measured[name].append(pytorch(arguments, processes, threads))
            figures = ", ".join(f"{name} {values[-1]:.1f}" for name, values in measured.items())
            bench_runs.progress(f"round {number}: {figures}")

    speeds = {name: bench_runs.spread(values) for name, values in measured.items()}
    ratios = {
        f"{above} / {below}": bench_runs.spread(
            [a / b for a, b in zip(measured[above], measured[below])]
        )
        for above, below in RATIOS
    }
    title = f"{arguments.model}, batch {BATCH_SIZE}"
    bench_runs.table(
        [title, "images/s, median (least to most)"],
        [[name, bench_runs.text(figure, ".1f")] for name, figure in speeds.items()],
    )
    print()
    bench_runs.table(
        ["ratio within a round", "median (least to most)"],
        [[name, bench_runs.text(figure, ".2f")] for name, figure in ratios.items()],
    )
    reached = ratios[SCALING]["median"]
    print(f"\n{SCALING}: {reached:.2f}, target at least {WANTED}")
    result = {
        "model": arguments.model,
        "batch_size": BATCH_SIZE,
        "steps": arguments.steps,
        "rounds": arguments.rounds,
        "images_per_second": speeds,
        "ratios": ratios,
        "each_round": measured,
    }
    bench_runs.write("throughput", arguments, result)


if __name__ == "__main__":
    main()
