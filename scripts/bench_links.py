#!/usr/bin/env python3
"""Measures how much of their time several nodes train when the links between them are slow, beside what the
simulator and the volume of an exchange predict. Needs Linux, root and iproute2.

    sudo python scripts/bench_links.py                     # every method at every rate
    sudo python scripts/bench_links.py --rates 10 --methods lsgd local_sgd

Each node is a process with one worker in a network namespace of its own, whose link carries RATE Mbit/s each
way, without added latency. A worker's step takes at least PACE, most of which it sleeps, so that the nodes
share a small machine without slowing each other down. Utilisation is the time that the steps alone would
take, as a share of the training time; the same run within one namespace, at no limit, says how much of the
loss is the network's.

Predicted, for exchanges every H steps of a vector of P bytes among n nodes (data parallel: H = 1):
volume      the busiest link carries, in one direction before the exchange ends, P of a leader's parameters, since
            the nodes hand them on; and 2 (n - 1) / n P for a mean, of which each node makes a part
simulator   lsgd-train simulate, with the same steps, rates and vectors
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import bench_runs

PERIOD = 16
MODEL = {
    "data.name": "generated",
    "data.shape": [1, 8, 8],
    "data.examples": 4096,
    "data.batch_size": 8,
    "model.name": "resnet8",
    "model.width": 32,
    "workers.count": 1,
    "workers.devices": ["cpu"],
    "workers.threads": 1,
    "evaluate.examples": 32,
    "evaluate.batch_norm_batches": 1,
    "method.local_period": PERIOD,
    "method.global_period": PERIOD,
    "run.mode": "sync",
    "run.overwrite": True,
}
METHODS = ["lsgd", "local_sgd", "diloco", "data_parallel"]
# Enough for ten exchanges or more; data parallel training exchanges at every step.
STEPS = {"data_parallel": 48}
USUAL_STEPS = 160


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Network:
    """A namespace for each node, and one with the bridge between them."""

    def __init__(self, nodes, rate):
        self.nodes = nodes
        self.rate = rate
        self.name = f"links-{os.getpid()}"
        self.hub = f"{self.name}-hub"
        self.spaces = [f"{self.name}-{node}" for node in range(1, nodes + 1)]

    def __enter__(self):
        ip("netns", "add", self.hub)
        ip("-n", self.hub, "link", "add", "bridge-0", "type", "bridge")
        ip("-n", self.hub, "link", "set", "bridge-0", "up")
        for node, space in enumerate(self.spaces, 1):
            port = f"port-{node}"
            ip("netns", "add", space)
            ip(*f"link add eth0 netns {space} type veth peer name {port} netns {self.hub}".split())
            ip("-n", self.hub, "link", "set", port, "master", "bridge-0", "up")
            ip("-n", space, "addr", "add", f"10.78.0.{node}/16", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
            for place, device in [(space, "eth0"), (self.hub, port)]:
                self.limit(place, device)
        return self

    def limit(self, space, device):
        # A burst of 4 ms at this rate, at least a few packets; a queue of 50 ms.
        burst = max(10_000, self.rate * 1_000_000 // 8 // 250)
        shaper = f"root tbf rate {self.rate}mbit burst {burst} latency 50ms"
        command = ["tc", "-n", space, "qdisc", "add", "dev", device, *shaper.split()]
        subprocess.run(command, check=True)

    def __exit__(self, *_):
        for space in [*self.spaces, self.hub]:
            subprocess.run(["ip", "netns", "delete", space], check=False)

    def command(self, node):
        return ["ip", "netns", "exec", self.spaces[node - 1]]

    def endpoint(self, node):
        return f"tcp/10.78.0.{node}:7447"


class Loopback:
    """All nodes in this process's own namespace, at no limit."""

    def __init__(self, nodes):
        self.nodes = nodes

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def command(self, node):
        return []

    def endpoint(self, node):
        return f"tcp/127.0.0.1:{17450 + node}"


def settings(method, folder):
    return {
        **MODEL,
        "method.name": method,
        "budget.steps": STEPS.get(method, USUAL_STEPS),
        "run.folder": str(folder),
        "run.name": method,
    }


def measured(program, folder, network, method, pace):
    """The nodes' summaries of a run over `network`."""
    config = bench_runs.empty_config(folder)
    run = {**settings(method, folder), "cluster.insecure": True}
    command = bench_runs.command(program, config, run)
    numbers = range(1, network.nodes + 1)
    endpoints = ",".join(network.endpoint(node) for node in numbers)
    # As `lsgd-train chaos` starts its nodes: with a shortest time of a step, and a pipe whose end would stop them.
    environment = {**os.environ, "LSGD_TRAIN_LAUNCHED": f"chaos {pace} 0"}
    nodes = []
    try:
        for node in numbers:
            words = [*network.command(node), *command, "--node", f"{node}/{network.nodes}", "--connect", endpoints]
            process = subprocess.Popen(
                words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
            nodes.append(process)
        codes = [process.wait() for process in nodes]
        if any(codes):
            sys.exit(f"{method}: nodes exited with {codes}")
    finally:
        for process in nodes:
            if process.poll() is None:
                process.kill()
            process.stdin.close()
            process.wait()
    paths = [Path(folder) / method / f"node-{node}" / "summary.json" for node in numbers]
    return [json.loads(path.read_text()) for path in paths]


def simulated(program, folder, method, nodes, rate, pace):
    """The summary of the same run in virtual time, in which nothing is trained."""
    run = {
        **settings(method, folder),
        "run.name": f"simulated-{method}",
        "simulate.nodes": nodes,
        "simulate.training": False,
        "simulate.step_seconds": pace / 1000,
        "simulate.bytes_per_second": rate * 1e6 / 8,
        "simulate.latency_seconds": 0.0,
    }
    config = bench_runs.empty_config(folder)
    words = bench_runs.command(program, config, run)
    words.insert(1, "simulate")
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    path = Path(folder) / f"simulated-{method}" / "summary.json"
    return json.loads(path.read_text())


def utilisation(steps, pace, seconds):
    return steps * pace / 1000 / seconds


def case(program, method, nodes, rate, pace):
    """One run of `method` at `rate` Mbit/s (`None`: no limit), and what was predicted of it."""
    steps = STEPS.get(method, USUAL_STEPS)
    with tempfile.TemporaryDirectory() as folder:
        with Loopback(nodes) if rate is None else Network(nodes, rate) as network:
            summaries = measured(program, folder, network, method, pace)
        seconds = max(summary["training_seconds"] for summary in summaries)
        result = {"measured": utilisation(steps, pace, seconds)}
        if rate is not None:
            predicted = simulated(program, folder, method, nodes, rate, pace)
            result["simulator"] = utilisation(steps, pace, predicted["training_seconds"])
            period = 1 if method == "data_parallel" else PERIOD
            vector = predicted["exchange"]["bytes"] / predicted["exchange"]["count"]
            vectors = 1 if method == "lsgd" else 2 * (nodes - 1) / nodes
            exchange = vectors * vector * 8 / (rate * 1e6)
            training = period * pace / 1000
            result["volume"] = training / (training + exchange)
    return result


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    bench_runs.options(parser)
    parser.add_argument("--rates", type=int, nargs="+", default=[10, 50, 200, 1000], help="in Mbit/s")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--pace", type=int, default=50, help="milliseconds of a step [default: %(default)s]")
    arguments = parser.parse_args()
    program = bench_runs.binary(arguments)
    cases = {}
    for _ in range(arguments.rounds):
        for rate in [None, *arguments.rates]:
            for method in arguments.methods:
                result = case(program, method, arguments.nodes, rate, arguments.pace)
                cases.setdefault((method, rate), []).append(result)
                shares = ", ".join(f"{key} {value:.3f}" for key, value in result.items())
                bench_runs.progress(f"{method} at {rate or 'no limit'}: {shares}")
    results = []
    rows = []
    for (method, rate), rounds in cases.items():
        measured = bench_runs.spread([each["measured"] for each in rounds])
        predicted = {key: value for key, value in rounds[0].items() if key != "measured"}
        results.append({"method": method, "mbit_per_second": rate, "measured": measured, **predicted})
        shares = [f"{predicted[key]:.0%}" if predicted else "" for key in ("simulator", "volume")]
        rows.append([method, str(rate or "no limit"), bench_runs.text(measured, ".0%"), *shares])
    bench_runs.table(["method", "Mbit/s", "utilisation", "simulator", "volume"], rows)
    bench_runs.write("links", arguments, {"nodes": arguments.nodes, "pace_ms": arguments.pace, "cases": results})


if __name__ == "__main__":
    main()
