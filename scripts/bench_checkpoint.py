#!/usr/bin/env python3
"""Measures what a checkpoint costs (VGG-16 with momentum, two workers, images of CIFAR's shape): how long
no worker trains for it, how long writing it takes, beside the time of a step; and how long a run takes to
continue from one.

    python scripts/bench_checkpoint.py

Pauses and writing are the summary's `checkpoints`: pauses are those without an evaluation, and while a
checkpoint is written the workers train. If it were written at the pause, training would wait for both.
"slower" is training time with a checkpoint every --every steps over that without any, which includes what
the writing thread takes from the workers' cores. Time to continue is from the start of the process to its
end, without the one step that it trains; beside it stands the same for a run that begins with one step.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import bench_runs

BATCH_SIZE = 32
WORKERS = 2


def settings(arguments, steps):
    return {
        **bench_runs.CIFAR_SHAPE,
        "model.name": arguments.model,
        "data.batch_size": BATCH_SIZE,
        "optimizer.momentum": 0.9,
        "run.mode": "sync",
        "method.local_period": 4,
        "workers.count": WORKERS,
        "workers.devices": ["cpu"] * WORKERS,
        "budget.steps": steps,
    }


def without_training(summary, steps):
    """Seconds from start to end in which a run of `steps` steps did not train."""
    return summary["seconds"] - steps * BATCH_SIZE * WORKERS / summary["samples_per_second"]


def round_of(arguments, program, folder):
    """The figures of one round, in seconds."""
    steps = arguments.steps
    plain = bench_runs.train(program, folder, settings(arguments, steps))
    saving = {**settings(arguments, steps), "checkpoint.every_steps": arguments.every}
    saving = bench_runs.train(program, folder, saving)
    files = (Path(folder) / f"bench/checkpoints/step-{steps}").iterdir()
    size = sum(file.stat().st_size for file in files if file.name != "mean.safetensors")
    command = [str(program), "resume", f"{folder}/bench", "--quiet", "--set", f"budget.steps={steps + 1}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    resumed = json.loads((Path(folder) / "bench" / "summary.json").read_text())
    begun = bench_runs.train(program, folder, settings(arguments, 1))
    return {
        "step": plain["training_seconds"] / steps,
        "pause": saving["checkpoints"]["pause_seconds"],
        "writing": saving["checkpoints"]["write_seconds"],
        "slower": saving["training_seconds"] / plain["training_seconds"],
        "continue": without_training(resumed, 1),
        "begin": without_training(begun, 1),
        "bytes": size,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    bench_runs.options(parser)
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--steps", type=bench_runs.positive, default=20)
    parser.add_argument("--every", type=bench_runs.positive, default=5)
    arguments = parser.parse_args()
    program = bench_runs.binary(arguments)
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, arguments.rounds + 1):
            rounds.append(round_of(arguments, program, folder))
            bench_runs.progress(f"round {number}: {rounds[-1]}")

    def spread(figure):
        return bench_runs.spread([figure(measured) for measured in rounds])

    shares = {
        "pause / step": spread(lambda r: r["pause"] / r["step"]),
        "pause and writing / step": spread(lambda r: (r["pause"] + r["writing"]) / r["step"]),
        f"training time with a checkpoint every {arguments.every} steps / without": spread(
            lambda r: r["slower"]
        ),
        "continue / begin": spread(lambda r: r["continue"] / r["begin"]),
    }
    bench_runs.table(
        [f"{arguments.model}, batch {BATCH_SIZE}, {WORKERS} workers", "median (least to most)"],
        [[name, bench_runs.text(figure, ".3f")] for name, figure in shares.items()],
    )
    result = {
        "model": arguments.model,
        "batch_size": BATCH_SIZE,
        "workers": WORKERS,
        "rounds": arguments.rounds,
        "checkpoint_bytes": statistics.median(r["bytes"] for r in rounds),
        "ratios": shares,
        "each_round": rounds,
    }
    bench_runs.write("checkpoint", arguments, result)


if __name__ == "__main__":
    main()
