"""Shared by the bench_*.py scripts: running lsgd-train, medians, tables, result files."""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "scripts" / "results"

# Generated images of CIFAR's shape, since speed does not depend on their content. The budget ends the run;
# the final evaluation, which does not count as training, is kept short.
CIFAR_SHAPE = {
    "data.name": "generated",
    "data.shape": [3, 32, 32],
    "data.examples": 4096,
    "evaluate.examples": 32,
    "evaluate.batch_norm_batches": 1,
}


def options(parser):
    """Adds the options that all these scripts share."""
    parser.add_argument("--binary", type=Path, help="the lsgd-train to run [default: the release build]")
    parser.add_argument(
        "--rounds", type=positive, default=5, help="how often to repeat everything [default: %(default)s]"
    )
    parser.add_argument(
        "--output", type=Path, help="result file [default: scripts/results/NAME.json]"
    )


def positive(word):
    """A whole number of at least 1, for argparse."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word} is less than 1")
    return number


def binary(arguments):
    """The lsgd-train to run."""
    path = arguments.binary or target_folder() / "release" / "lsgd-train"
    if not path.is_file():
        sys.exit(f"{path} does not exist; run cargo build --release --workspace, or give --binary")
    return path.resolve()


def target_folder():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    return Path(json.loads(metadata)["target_directory"])


def toml(value):
    """A value in the form that `--set` takes; strings become bare words."""
    return value if isinstance(value, str) else json.dumps(value)


def command(program, config, settings):
    """The command that trains `config` with `settings`, a dict of keys and values."""
    pairs = [["--set", f"{key}={toml(value)}"] for key, value in settings.items()]
    return [str(program), "--quiet", "--config", str(config), *sum(pairs, [])]


def empty_config(folder):
    """A config file in `folder` that leaves every key at its default."""
    config = Path(folder) / "empty.toml"
    config.write_text("# every key at its default\n")
    return config


def train(program, folder, settings, config=None, watch=None):
    """Trains and returns summary.json. Calls `watch`, if given, with the running process."""
    if config is None:
        config = empty_config(folder)
    settings = {**settings, "run.folder": str(folder), "run.name": "bench", "run.overwrite": True}
    process = subprocess.Popen(command(program, config, settings), stdout=subprocess.DEVNULL)
    try:
        if watch:
            watch(process)
        code = process.wait()
    finally:
        # This script was interrupted, or `watch` failed.
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code != 0:
        sys.exit(f"lsgd-train exited with code {code}: {shlex.join(process.args)}")
    return json.loads((Path(folder) / "bench" / "summary.json").read_text())


def spread(values):
    """Median, minimum and maximum of a figure over the rounds."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def scaled(figure, factor):
    """A figure of `spread` in another unit."""
    return {key: factor * value for key, value in figure.items()}


def text(figure, form):
    """A figure of `spread` as text: median (minimum to maximum)."""
    median, least, most = (format(figure[key], form) for key in ("median", "min", "max"))
    return f"{median} ({least} to {most})"


def table(head, rows):
    """Prints rows of strings as a Markdown table."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths))
        print(f"| {' | '.join(cells)} |", flush=True)


def progress(line):
    """Prints progress to stderr."""
    print(line, file=sys.stderr, flush=True)


def write(name, arguments, result):
    """Writes scripts/results/NAME.json: command, machine, load and `result`."""
    path = arguments.output or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        # Without the paths, which say nothing about the result.
        "command": shlex.join([f"scripts/{Path(sys.argv[0]).name}", *shown(sys.argv[1:])]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        **result,
    }
    path.write_text(json.dumps(rounded(record), indent=2) + "\n")
    progress(f"wrote {path}")


def rounded(value):
    """A copy with every float rounded to six digits; more would be noise."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {key: rounded(inner) for key, inner in value.items()}
        case list():
            return [rounded(inner) for inner in value]
    return value


def shown(words):
    """Command line words without --binary and --output."""
    kept = []
    words = iter(words)
    for word in words:
        if word in ("--binary", "--output"):
            next(words, None)
        elif not word.startswith(("--binary=", "--output=")):
            kept.append(word)
    return kept


def machine():
    """Processor, cores, and the load average of the last minute, including this script."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {"processor": model, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
