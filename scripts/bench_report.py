#!/usr/bin/env python3
"""Measures `lsgd-train report` on a run with very long records: the seconds it takes, on the wall and of all
processor cores together, and its peak memory.

    python scripts/bench_report.py                     ten million lines of metrics.jsonl
    python scripts/bench_report.py --lines 1000000 --keep runs/long
    python scripts/bench_report.py --before FILE       in turn with another lsgd-train, such as an earlier one
    python scripts/bench_report.py --csv               the table of `--csv` in place of the page

A short run of the smoke config is made first; its intervals and its exchanges (an election, an exchange and
a pull of each worker) are then written again and again with rising steps and seconds, an event line for every
--metrics-per-event lines of metrics.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_runs

WORKERS = 4
# Steps of an interval, and seconds that it takes.
STEPS, SECONDS = 10, 0.5


def metrics(file, lines):
    """Intervals of all workers in turn, with a loss that falls and is noisy, and an evaluation each 100."""
    score = {"error": 50.0, "loss": 1.0}
    for number in range(lines):
        turn, worker = divmod(number, WORKERS)
        step, seconds = (turn + 1) * STEPS, (turn + 1) * SECONDS + worker / 1000
        if number % 1000 == 999:
            of_worker = {"worker": {"node": 0, "worker": 0}, "training_loss": 1.0, "test": score, "digest": ""}
            line = {"kind": "evaluation", "step": step, "epoch": 1.0, "samples": step * 64, "seconds": seconds,
                    "examples": 10, "leader": of_worker, "replica_mean": score, "workers": [of_worker] * WORKERS}
            file.write(json.dumps(line) + "\n")
            continue
        loss = 2.3 / (1 + step / 1e5) + (number * 2654435761 % 1000) / 5000
        file.write(
            f'{{"kind":"interval","step":{step},"steps":{STEPS},"seconds":{seconds:.9f},'
            f'"worker":{{"node":0,"worker":{worker}}},"loss":{loss:.16f},"learning_rate":0.00800447437285215}}\n'
        )


def events(file, lines):
    """Exchanges, with a leader that changes often."""
    for number in range(lines):
        turn, kind = divmod(number, 2 + WORKERS)
        step, seconds = (turn + 1) * 16, (turn + 1) * 0.8
        leader = turn // 3 % WORKERS
        source = f'{{"worker":{{"id":{{"node":0,"worker":{leader}}},"step":{step}}}}}'
        if kind == 0:
            line = (f'{{"event":"election","step":{step},"scope":"local","leader":{{"node":0,"worker":{leader}}},'
                    f'"reason":{{"lowest_loss":{{"loss":2.27,"next":2.28}}}},"excluded":[],')
        elif kind == 1:
            line = (f'{{"event":"exchange","step":{step},"exchange":{turn + 1},"scope":"local",'
                    f'"vector":"parameters","source":{source},"workers":4,"bytes":1078888,"staleness":0,')
        else:
            line = (f'{{"event":"adoption","step":{step},"worker":{{"node":0,"worker":{kind - 2}}},'
                    f'"scope":"local","source":{source},"strength":0.1,"staleness":0,')
        file.write(f'{line}"seconds":{seconds:.9f}}}\n')


def make(program, folder, arguments):
    """The folder of a run with long records."""
    bench_runs.train(program, folder, {
        "data.name": "generated", "data.shape": [3, 8, 8], "data.examples": 64, "data.classes": 4,
        "data.batch_size": 4, "model.name": "resnet8", "model.width": 4, "budget.steps": 4,
        "workers.count": WORKERS, "workers.devices": ["cpu"] * WORKERS,
    })
    run = Path(folder) / "bench"
    with open(run / "metrics.jsonl", "w") as file:
        metrics(file, arguments.lines)
    with open(run / "events.jsonl", "w") as file:
        events(file, arguments.lines // arguments.metrics_per_event)
    return run


def measure(program, run, csv):
    """Seconds on the wall, of processor cores, peak memory in bytes, and the size of what was made."""
    made = run.parent / ("table.csv" if csv else "report.html")
    form = "--csv" if csv else "--output"
    command = [str(program), "report", str(run), form, str(made), "--force"]
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"report failed with status {status}")
    seconds = time.monotonic() - begin
    # Linux counts in kilobytes.
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, made.stat().st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    bench_runs.options(parser)
    parser.add_argument("--lines", type=bench_runs.positive, default=10_000_000)
    parser.add_argument("--metrics-per-event", type=bench_runs.positive, default=4)
    parser.add_argument("--keep", type=Path, help="make the run in this folder, and leave it there")
    parser.add_argument("--before", type=Path, help="another lsgd-train, which is measured in turn with it")
    parser.add_argument("--csv", action="store_true", help="measure the table in place of the page")
    arguments = parser.parse_args()
    program = bench_runs.binary(arguments)
    programs = {"this": program} | ({"before": arguments.before.resolve()} if arguments.before else {})
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        run = make(program, arguments.keep or temporary, arguments)
        size = sum((run / name).stat().st_size for name in ("metrics.jsonl", "events.jsonl"))
        rounds = [
            {name: measure(program, run, arguments.csv) for name, program in programs.items()}
            for _ in range(arguments.rounds)
        ]
    names = ["seconds", "processor_seconds", "peak_memory_bytes", "made_bytes"]
    results, rows = {}, []
    for program in programs:
        columns = zip(*(measured[program] for measured in rounds))
        results[program] = {name: bench_runs.spread(values) for name, values in zip(names, columns)}
        seconds, processor, memory, made = results[program].values()
        figures = [(seconds, ".2f"), (processor, ".2f"), (bench_runs.scaled(memory, 1e-6), ".0f"),
                   (bench_runs.scaled(made, 1e-6), ".2f")]
        rows.append([program, str(arguments.lines), f"{size / 1e9:.2f}",
                     *(bench_runs.text(*figure) for figure in figures)])
    head = ["program", "lines of metrics", "GB of records", "seconds", "processor seconds", "peak memory, MB",
            "table, MB" if arguments.csv else "page, MB"]
    bench_runs.table(head, rows)
    bench_runs.write("report", arguments, {"lines": arguments.lines, "bytes": size, "programs": results})


if __name__ == "__main__":
    main()
