#!/usr/bin/env python3
"""Measures what it costs a run to be looked at: with a page that somebody follows and a file for TensorBoard, and
without either, in turn.

    python scripts/bench_serving.py

The quickstart, whose steps are so short that it records more lines a second than most: `--serve` with a visitor who
loads the page and /metrics once and then asks for the charts every two seconds, as the page does, and
`record.tensorboard`. Compared are the seconds of training, and the processor time of the whole run, which depends
less on what else the machine does.

The processor time of a run that is looked at is also taken by thread (Linux): the page has one of its own, and all
records are written by the main thread, beside everything else that it does. Their share of the whole, unlike a ratio
of two runs, does not drown in the machine's noise.
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
import time
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


def by_thread(process, seconds):
    """Keeps the processor seconds of the threads of a process in `seconds`, by id, until it ends."""
    tasks = Path(f"/proc/{process.pid}/task")
    while process.returncode is None:
        for task in tasks.glob("*"):
            try:
                name = "main" if task.name == str(process.pid) else (task / "comm").read_text().strip()
                # Its first number: nanoseconds on a processor.
                seconds[task.name] = (name, int((task / "schedstat").read_text().split()[0]) / 1e9)
            except (OSError, IndexError):
                # It has just ended.
                pass
        time.sleep(0.05)


def train(arguments, program, folder, looked_at):
    """The seconds of training of a run, and how many answers its visitor got."""
    settings = {
        "run.folder": str(folder),
        "run.name": "bench",
        "run.overwrite": True,
        "budget.steps": arguments.steps,
        "evaluate.every_steps": 100,
        "record.tensorboard": looked_at,
    }
    command = bench_runs.command(program, arguments.config, settings)
    command += [word for change in arguments.set for word in ("--set", change)]
    port, ended, answers = free_port(), threading.Event(), []
    if looked_at:
        command += ["--serve", f"127.0.0.1:{port}"]
    visitor = threading.Thread(target=lambda: answers.append(visit(f"http://127.0.0.1:{port}/", ended)))
    if looked_at:
        visitor.start()
    process = subprocess.Popen(command, cwd=bench_runs.ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    seconds = {}
    sampler = threading.Thread(target=by_thread, args=(process, seconds))
    sampler.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    sampler.join()
    if looked_at:
        visitor.join()
    if status != 0:
        sys.exit(f"lsgd-train failed with status {status}")
    summary = json.loads((Path(folder) / "bench/summary.json").read_text())
    return {
        "seconds": summary["training_seconds"],
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "main_seconds": sum(spent for name, spent in seconds.values() if name == "main"),
        "page_seconds": sum(spent for name, spent in seconds.values() if name == "page"),
        "answers": sum(answers),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bench_runs.options(parser)
    parser.add_argument("--config", type=Path, default=CONFIG, help="[default: the quickstart's]")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="may be repeated")
    parser.add_argument("--steps", type=bench_runs.positive, default=600, help="of a run [default: %(default)s]")
    arguments = parser.parse_args()
    program = bench_runs.binary(arguments)
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            order = [True, False] if number % 2 else [False, True]
            both = {looked_at: train(arguments, program, folder, looked_at) for looked_at in order}
            pairs.append({"alone": both[False], "looked_at": both[True]})
            print(pairs[-1], flush=True)
    result = {"config": arguments.config.name, "steps": arguments.steps}
    for figure in ("seconds", "processor_seconds"):
        ratios = sorted(pair["looked_at"][figure] / pair["alone"][figure] for pair in pairs)
        result[figure] = {"ratio": statistics.median(ratios), "range": [ratios[0], ratios[-1]]}
        print(f"{figure}, looked at / alone: {result[figure]['ratio']:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")
    for thread in ("main", "page"):
        runs = [pair["looked_at"] for pair in pairs]
        shares = sorted(run[f"{thread}_seconds"] / run["processor_seconds"] for run in runs)
        result[f"{thread}_share"] = {"median": statistics.median(shares), "range": [shares[0], shares[-1]]}
        print(f"{thread} thread: {statistics.median(shares):.2%} of it ({shares[0]:.2%} to {shares[-1]:.2%})")
    result["pairs"] = pairs
    output = arguments.output or bench_runs.RESULTS / "serving.json"
    output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
