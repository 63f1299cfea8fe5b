#!/usr/bin/env python3
"""Measures the cost of several nodes, and the effect of a node's death on the others. All nodes are
processes on this machine, connected over loopback.

    python scripts/bench_nodes.py            # kills, volume, overhead

kills     Three nodes, in both modes. One at a time (chosen by seed, node 1 included) is killed with
          SIGKILL and restarted with the same command. Detection is the time from the kill until a
          survivor reports it; recovery, from then to the survivor's next global exchange; rejoining,
          from the start of the process to its own first global exchange.
volume    Four nodes of four workers, periods 16 and 64: bytes counted per step, compared with data
          parallel training (a ring all-reduce between the nodes), and checked against the vectors
          that the records say were fetched.
overhead  Two nodes of one worker, VGG-16, one global exchange in 64 steps: its share of the training
          time, including waiting for the other node.
"""

import argparse
import random
import sys
import tempfile
import time

import bench_runs
from nodes_runs import Cluster

SMALL = {
    "data.name": "generated",
    "data.shape": [1, 8, 8],
    "data.examples": 4096,
    "data.batch_size": 16,
    "model.name": "resnet8",
    "model.width": 4,
    "workers.devices": ["cpu"],
    "workers.count": 1,
    "evaluate.examples": 32,
    "evaluate.batch_norm_batches": 1,
    "method.loss_window": 8,
}
LINK_BYTES = 4


def kills(program, folder, mode, arguments):
    settings = {**SMALL, "run.mode": mode, "budget.minutes": 60, "method.global_period": 64}
    draw = random.Random(arguments.seed)
    detections, restarts = [], []
    with Cluster(program, folder, f"kills-{mode}", 3, settings) as cluster:
        for node in cluster.nodes.values():
            node.hear("resnet8")
        for number in range(arguments.kills):
            time.sleep(2)  # for a few exchanges of all three
            victim = draw.randint(1, 3)
            survivors = [node for node in cluster.nodes if node != victim]
            cluster.nodes[victim].process.kill()
            killed = time.monotonic()
            for survivor in survivors:
                heard = cluster.nodes[survivor].hear(f"node {victim} disconnected")
                detections.append(heard - killed)
            time.sleep(1)
            cluster.start(victim)
            begun = cluster.nodes[victim].hear("resnet8") - cluster.nodes[victim].started
            for survivor in survivors:
                cluster.nodes[survivor].hear(f"node {victim} connected")
            restarts.append((victim, begun))
            bench_runs.progress(f"{mode}, kill {number + 1}: node {victim}")
        time.sleep(3)
        events = {node: cluster.events(node) for node in cluster.nodes}
    return {
        "kills": arguments.kills,
        "seconds_to_notice": bench_runs.spread(detections),
        "seconds_to_next_exchange": bench_runs.spread(next_exchanges(events)),
        "seconds_to_rejoin": bench_runs.spread(rejoins(events, restarts)),
    }


def is_global_exchange(event):
    return event["event"] == "exchange" and event["scope"] == "global"


def next_exchanges(events):
    """Seconds from each lost node that a node detected to its next global exchange, by its own clock."""
    waits = []
    for of_node in events.values():
        lost = None
        for event in of_node:
            if event["event"] == "node_lost":
                lost = event["seconds"]
            elif is_global_exchange(event) and lost is not None:
                waits.append(event["seconds"] - lost)
                lost = None
    return waits


def rejoins(events, restarts):
    """Seconds from the start of each restarted process to its first global exchange."""
    first = {node: first_exchanges(of_node) for node, of_node in events.items()}
    return [begun + first[victim].pop(0) for victim, begun in restarts if first[victim]]


def first_exchanges(of_node):
    """Seconds of training until the first global exchange of each incarnation after the first."""
    incarnations, waits = 0, False
    found = []
    for event in of_node:
        if event["event"] == "joined":
            incarnations += 1
            waits = incarnations > 1
        elif waits and is_global_exchange(event):
            found.append(event["seconds"])
            waits = False
    return found


def volume(program, folder, arguments):
    steps = 192
    settings = {
        **SMALL,
        "workers.devices": "auto",
        "workers.count": 4,
        "budget.steps": steps,
        "method.local_period": 16,
        "method.global_period": 64,
    }
    with Cluster(program, folder, "volume", 4, settings) as cluster:
        summaries = cluster.summaries()
        events = [cluster.events(node) for node in cluster.nodes]
    flows = [flow for s in summaries for flow in s["nodes"]["traffic"]["peers"].values()]
    kinds = sorted({kind for flow in flows for kind in flow})
    sent = {kind: sum(flow.get(kind, {}).get("sent", 0) for flow in flows) for kind in kinds}
    fetched = sum(e["bytes"] for of_node in events for e in of_node if is_global_exchange(e))
    link = sum(s["nodes"]["traffic"]["link"]["sent"] for s in summaries)
    parallel = sum(s["nodes"]["data_parallel_bytes"] for s in summaries)
    training = sent.get("parameters", 0) + sent.get("report", 0) + sent.get("other", 0)
    if sent.get("parameters") != fetched:
        sys.exit(f"{sent.get('parameters')} bytes of parameters sent, but {fetched} in the records")
    return {
        "steps": steps,
        "bytes_sent": sent,
        "snapshot_bytes_by_record": fetched,
        "bytes_a_step": training / steps,
        "data_parallel_bytes_a_step": parallel / steps,
        "times_less": parallel / training,
        "protocol_share": 1 - sum(sent.values()) / link,
    }


def overhead(program, folder, arguments):
    shares = []
    for number in range(arguments.rounds):
        settings = {
            **bench_runs.CIFAR_SHAPE,
            "model.name": "vgg16",
            "data.batch_size": arguments.batch_size,
            "workers.devices": ["cpu"],
            "workers.count": 1,
            "budget.steps": 64,
            "method.local_period": 64,
            "method.global_period": 64,
            "method.loss_window": 8,
            # A larger rate diverges with batches this small, and a diverged worker cannot lead.
            "schedule.learning_rate": 0.001,
        }
        with Cluster(program, folder, f"overhead-{number}", 2, settings) as cluster:
            summaries = cluster.summaries()
            events = {node: cluster.events(node) for node in cluster.nodes}
        # From when both had proposed their leaders to when the vector had arrived.
        both = max(
            e["seconds"] for of in events.values() for e in of if e["event"] == "proposed"
        )
        for node, summary in zip(events, summaries):
            fetched = [e for e in events[node] if is_global_exchange(e) and e["bytes"] > 0]
            if fetched:
                took = max(0.0, fetched[0]["seconds"] - both)
                shares.append(took / summary["training_seconds"])
        bench_runs.progress(f"overhead, round {number + 1}: {shares[-1]:.4%}")
    return {"batch_size": arguments.batch_size, "share": bench_runs.spread(shares)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    bench_runs.options(parser)
    parser.add_argument("--kills", type=int, default=20, help="kills in each mode [default: 20]")
    parser.add_argument("--seed", type=int, default=1, help="seed that chooses the nodes to kill [default: 1]")
    parser.add_argument("--batch-size", type=int, default=16, help="batch size of VGG-16 [default: 16]")
    parser.add_argument(
        "--only", nargs="+", default=["kills", "volume", "overhead"], help="run only some of the three"
    )
    arguments = parser.parse_args()
    program = bench_runs.binary(arguments)
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        if "kills" in arguments.only:
            result["kills"] = {
                mode: kills(program, folder, mode, arguments) for mode in ["sync", "async"]
            }
        if "volume" in arguments.only:
            result["volume"] = volume(program, folder, arguments)
        if "overhead" in arguments.only:
            result["overhead"] = overhead(program, folder, arguments)
    for mode, figures in result.get("kills", {}).items():
        bench_runs.table(
            [f"{figures['kills']} kills, {mode}", "seconds, median (least to most)"],
            [
                [name, bench_runs.text(figures[key], ".2f")]
                for name, key in [
                    ("failure detection by a survivor", "seconds_to_notice"),
                    ("recovery, to its next exchange", "seconds_to_next_exchange"),
                    ("rejoin, from restart to first exchange", "seconds_to_rejoin"),
                ]
            ],
        )
    bench_runs.write("nodes", arguments, result)


if __name__ == "__main__":
    main()
