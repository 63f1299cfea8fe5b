#!/usr/bin/env python3
"""Measures what it costs a run to be looked at: with a page that somebody follows and a file for TensorBoard, and
without either, in turn.

    python scripts/bench_serving.py

The quickstart, whose steps are so short that it records more lines a second than most: `--serve` with a visitor who
loads the page and /metrics once and then asks for the charts every two seconds, as the page does, and
`record.tensorboard`. Compared are the seconds of training, and the processor time of the whole run, which depends
less on what else the machine does.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

import bench_runs

CONFIG = bench_runs.ROOT / "configs/quickstart.toml"
# As in report/assets/live.js.
EVERY = 2.0


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def visit(url, ended):
    """Follows the page until the run has ended. Returns how many answers came."""
    answers, tag = 0, None
    paths = ["", "metrics"]
    while not ended.wait(EVERY):
        for path in [*paths, "charts.json"]:
            request = urllib.request.Request(url + path, headers={"If-None-Match": tag} if tag else {})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    answer.read()
                    tag = answer.headers.get("ETag") or tag
                answers += 1
            except (urllib.error.URLError, ConnectionError):
                # Nothing new, or the run has not begun, or has just ended.
                pass
        paths = []
    return answers


def train(program, folder, steps, looked_at):
    """The seconds of training of a run, and how many answers its visitor got."""
    settings = {
        "run.folder": str(folder),
        "run.name": "bench",
        "run.overwrite": True,
        "budget.steps": steps,
        "evaluate.every_steps": 100,
        "record.tensorboard": looked_at,
    }
    command = bench_runs.command(program, CONFIG, settings)
    port, ended, answers = free_port(), threading.Event(), []
    if looked_at:
        command += ["--serve", f"127.0.0.1:{port}"]
    visitor = threading.Thread(target=lambda: answers.append(visit(f"http://127.0.0.1:{port}/", ended)))
    if looked_at:
        visitor.start()
    process = subprocess.Popen(command, cwd=bench_runs.ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    if looked_at:
        visitor.join()
    if status != 0:
        sys.exit(f"lsgd-train failed with status {status}")
    summary = json.loads((Path(folder) / "bench/summary.json").read_text())
    return {
        "seconds": summary["training_seconds"],
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "answers": sum(answers),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bench_runs.options(parser)
    parser.add_argument("--steps", type=bench_runs.positive, default=600, help="of a run [default: %(default)s]")
    arguments = parser.parse_args()
    program = bench_runs.binary(arguments)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            order = [True, False] if number % 2 else [False, True]
            both = {looked_at: train(program, folder, arguments.steps, looked_at) for looked_at in order}
            pairs.append({"alone": both[False], "looked_at": both[True]})
            print(pairs[-1], flush=True)
    result = {"steps": arguments.steps}
    for figure in ("seconds", "processor_seconds"):
        ratios = sorted(pair["looked_at"][figure] / pair["alone"][figure] for pair in pairs)
        result[figure] = {"ratio": statistics.median(ratios), "range": [ratios[0], ratios[-1]]}
        print(f"{figure}, looked at / alone: {result[figure]['ratio']:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")
    result["pairs"] = pairs
    output = arguments.output or bench_runs.RESULTS / "serving.json"
    output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
