#!/usr/bin/env python3
"""Measures the cost of exchanges: two workers with one thread each, an exchange every 16 steps, ResNet-20
and VGG-16 on images of CIFAR's shape.

    python scripts/bench_exchange.py

The share is measured inside the run: seconds of reading, electing, pulling and recording divided by
seconds of training, both from the summary; waiting for the other worker is reported separately. A run of
16 steps has one exchange in 16 steps, like a long one. The duration of an exchange does not depend on the
batch size, so a share at batch 32 is also converted to batch 128.

Each run with exchanges is paired with one without (method sgd), alternately before and after it. The
ratio of their speeds is reported with its range but has no target, because the machine's noise is larger
than the effect.
"""

import argparse
import sys
import tempfile

import bench_runs

BATCH_SIZES = {"resnet20": 128, "vgg16": 32}
PERIOD = 16
PAPER_BATCH = 128
WANTED = 0.01  # target: largest share of training time


def run(program, folder, model, method, arguments):
    settings = {
        **bench_runs.CIFAR_SHAPE,
        "model.name": model,
        "data.batch_size": batch_size(arguments, model),
        "data.augment": "pad_crop",
        "method.name": method,
        "method.local_period": PERIOD,
        "method.loss_window": PERIOD,
        "workers.count": 2,
        "workers.devices": ["cpu", "cpu"],
        "budget.steps": arguments.steps,
    }
    summary = bench_runs.train(program, folder, settings)
    expected = arguments.steps // PERIOD if method == "lsgd" else 0
    if summary["exchange"]["count"] != expected:
        sys.exit(f"{model}, {method}: {summary['exchange']['count']} exchanges, not {expected}")
    return summary


def batch_size(arguments, model):
    return arguments.batch_size or BATCH_SIZES.get(model, 32)


def measure(program, folder, model, arguments):
    """Measures one model in all rounds."""
    size = batch_size(arguments, model)
    figures = {
        "share": [],
        "share_at_batch_128": [],
        "wait_share": [],
        "milliseconds_an_exchange": [],
        "speed_with_over_without": [],
    }
    for number in range(arguments.rounds):
        methods = ["lsgd", "sgd"] if number % 2 == 0 else ["sgd", "lsgd"]
        summaries = {name: run(program, folder, model, name, arguments) for name in methods}
        summary = summaries["lsgd"]
        exchange, training = summary["exchange"], summary["training_seconds"]
        rest = (training - exchange["seconds"]) * PAPER_BATCH / size
        figures["share"].append(exchange["seconds"] / training)
        figures["share_at_batch_128"].append(exchange["seconds"] / (exchange["seconds"] + rest))
        figures["wait_share"].append(exchange["wait_seconds"] / training)
        figures["milliseconds_an_exchange"].append(1e3 * exchange["seconds"] / exchange["count"])
        speeds = {name: s["samples_per_second"] for name, s in summaries.items()}
        figures["speed_with_over_without"].append(speeds["lsgd"] / speeds["sgd"])
        latest = ", ".join(f"{name} {values[-1]:.4g}" for name, values in figures.items())
        bench_runs.progress(f"{model}, round {number + 1}: {latest}")
    return {
        "batch_size": size,
        **{name: bench_runs.spread(values) for name, values in figures.items()},
        "each_round": figures,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    bench_runs.options(parser)
    parser.add_argument(
        "--models", nargs="+", default=list(BATCH_SIZES), help="[default: resnet20 vgg16]"
    )
    parser.add_argument(
        "--steps", type=int, default=PERIOD, help="steps of each run; every 16th has an exchange"
    )
    parser.add_argument(
        "--batch-size", type=int, help="[default: 128 for resnet20, 32 for the slower vgg16]"
    )
    arguments = parser.parse_args()
    if arguments.steps < PERIOD:
        parser.error(f"--steps {arguments.steps}: the first exchange is at step {PERIOD}")

    program = bench_runs.binary(arguments)
    with tempfile.TemporaryDirectory() as folder:
        models = {
            model: measure(program, folder, model, arguments) for model in arguments.models
        }

    bench_runs.table(
        ["median (least to most)", "share", "share at batch 128", "waiting", "ms an exchange"],
        [
            [
                f"{model}, batch {figures['batch_size']}",
                bench_runs.text(figures["share"], ".3%"),
                bench_runs.text(figures["share_at_batch_128"], ".3%"),
                bench_runs.text(figures["wait_share"], ".1%"),
                bench_runs.text(figures["milliseconds_an_exchange"], ".1f"),
            ]
            for model, figures in models.items()
        ],
    )
    print(f"target: a share of at most {WANTED:.0%}\n")
    bench_runs.table(
        ["interleaved pairs", "images/s with / without exchanges"],
        [
            [model, bench_runs.text(figures["speed_with_over_without"], ".3f")]
            for model, figures in models.items()
        ],
    )
    result = {
        "workers": 2,
        "local_period": PERIOD,
        "steps": arguments.steps,
        "rounds": arguments.rounds,
        "models": models,
    }
    bench_runs.write("exchange", arguments, result)


if __name__ == "__main__":
    main()
