#!/usr/bin/env python3
"""Times training steps (forward, backward, SGD with momentum) on the CPU at batch 128: the kernels of
crates/lsgd-cpu, Burn's own operations and PyTorch, one after another in every round.

    cargo build --release --workspace --examples
    python scripts/bench_cpu.py                   (needs torch)

One worker with one thread is compared with PyTorch on one thread; two workers, as threads of one process,
with two PyTorch processes of one thread each. PyTorch computes eagerly, with images stored channels last,
compiled (which needs a C++ compiler), and both; its fastest is the mode of the highest median. Ratios are
taken within a round. The roofline (called floor
in the record) is the speed if every convolution and fully connected layer ran at the rate of a 1024 x 1024
matrix product (on one thread, measured in every round) and everything else were free.
"""

import argparse
import json
import statistics
import subprocess
import sys

import bench_runs
import torch_steps
from torch_steps import BATCH_SIZE, MODES

# Model -> (side of its images, timed steps).
MODELS = {"resnet20": (32, 6), "cnn7": (28, 12), "vgg16": (32, 1), "cifarnet": (32, 2)}


def model_of(name):
    import torch_models

    side, _ = MODELS[name]
    return torch_models.build(name, 10, 3, side, side)


def pytorch(name, mode, processes, steps):
    return torch_steps.speed(["--pytorch", name, "--mode", mode, "--steps", steps], processes, steps)


def example(*words):
    program = bench_runs.target_folder() / "release" / "examples" / "step_speed"
    if not program.is_file():
        sys.exit(f"{program} does not exist; run cargo build --release --workspace --examples")
    command = [str(program), *map(str, words)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def flops_an_image(name):
    """Floating-point operations of forward and backward: each product of the forward pass recurs in the
    gradient of its weights and, except in the first layer, in that of its input."""
    import torch

    network, products = model_of(name).eval(), []

    def count(layer, inputs, output):
        each = layer.weight[0].numel()
        products.append(2 * each * output.numel())

    for layer in network.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.register_forward_hook(count)
    side, _ = MODELS[name]
    network(torch.zeros(1, 3, side, side))
    return 3 * sum(products) - products[0]


def of_pytorch(mode, workers):
    """The name of a figure of PyTorch."""
    return f"PyTorch {mode}, " + ("1 thread" if workers == 1 else f"{workers} processes")


def measure(name, arguments):
    _, steps = MODELS[name]
    steps = arguments.steps or steps
    speeds = {}
    memory = {}
    floors = []
    flops = flops_an_image(name)
    for number in range(1, arguments.rounds + 1):
        rate = example("matmul")["flops_per_second"]
        floors.append(rate / flops)
        for workers in (1, 2):
            for kernels in ("own", "burn"):
                ran = example(name, workers, steps, kernels)
                key = f"{kernels}, {workers} worker{'s' * (workers > 1)}"
                speeds.setdefault(key, []).append(ran["images_per_second"])
                memory.setdefault(key, []).append(ran["peak_memory_bytes"])
            for mode in MODES:
                speeds.setdefault(of_pytorch(mode, workers), []).append(pytorch(name, mode, workers, steps))
        figures = ", ".join(f"{key} {values[-1]:.1f}" for key, values in speeds.items())
        bench_runs.progress(f"{name}, round {number}: {figures}")
    ratio = lambda above, below: bench_runs.spread(
        [a / b for a, b in zip(speeds[above], speeds[below])]
    )
    fastest = {
        workers: max(MODES, key=lambda mode: statistics.median(speeds[of_pytorch(mode, workers)]))
        for workers in (1, 2)
    }
    return {
        "steps": steps,
        "fastest_of_pytorch": {f"{workers} workers": mode for workers, mode in fastest.items()},
        "flops_an_image": flops,
        "images_per_second": {key: bench_runs.spread(values) for key, values in speeds.items()},
        "floor_images_per_second": bench_runs.spread(floors),
        "ratios": {
            "own / PyTorch eager, 1 thread": ratio("own, 1 worker", of_pytorch("eager", 1)),
            "own / PyTorch eager, 2 workers": ratio("own, 2 workers", of_pytorch("eager", 2)),
            "own / PyTorch's fastest, 1 thread": ratio("own, 1 worker", of_pytorch(fastest[1], 1)),
            "own / PyTorch's fastest, 2 workers": ratio("own, 2 workers", of_pytorch(fastest[2], 2)),
            "own / burn, 1 worker": ratio("own, 1 worker", "burn, 1 worker"),
            "own / burn, 2 workers": ratio("own, 2 workers", "burn, 2 workers"),
            "own / floor, 1 worker": bench_runs.spread(
                [a / b for a, b in zip(speeds["own, 1 worker"], floors)]
            ),
        },
        "peak_memory_bytes": {key: bench_runs.spread(values) for key, values in memory.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), help="one or more of " + ", ".join(MODELS))
    parser.add_argument("--steps", type=bench_runs.positive, help="timed steps of each run")
    parser.add_argument("--pytorch", help=argparse.SUPPRESS)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    bench_runs.options(parser)
    arguments = parser.parse_args()
    if arguments.pytorch:
        side, _ = MODELS[arguments.pytorch]
        return torch_steps.process(arguments.pytorch, side, arguments.steps, 1, arguments.mode)
    unknown = set(arguments.models) - set(MODELS)
    if unknown:
        parser.error(f"unknown model {unknown.pop()}: use one of {', '.join(MODELS)}")

    results = {name: measure(name, arguments) for name in arguments.models}
    for name, result in results.items():
        print()
        bench_runs.table(
            [f"{name}, batch {BATCH_SIZE}", "median (least to most)"],
            [
                [f"images/s, {key}", bench_runs.text(figure, ".1f")]
                for key, figure in result["images_per_second"].items()
            ]
            + [["images/s, roofline of one thread", bench_runs.text(result["floor_images_per_second"], ".1f")]]
            + [[key, bench_runs.text(figure, ".2f")] for key, figure in result["ratios"].items()]
            + [
                [f"peak MB, {key}", bench_runs.text(bench_runs.scaled(figure, 1e-6), ".0f")]
                for key, figure in result["peak_memory_bytes"].items()
            ],
        )
    bench_runs.write("cpu", arguments, {"batch_size": BATCH_SIZE, "models": results})


if __name__ == "__main__":
    main()
