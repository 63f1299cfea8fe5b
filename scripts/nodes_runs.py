"""Runs several nodes as processes on loopback, for the scripts that kill and measure them."""

import json
import queue
import socket
import subprocess
import threading
import time
from pathlib import Path

import bench_runs


def free_ports(count):
    """Loopback ports that are free at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Cluster:
    """The nodes of one run, numbered from 1."""

    def __init__(self, program, folder, name, nodes, settings):
        self.folder = Path(folder) / name
        config = bench_runs.empty_config(folder)
        endpoints = ",".join(f"tcp/127.0.0.1:{port}" for port in free_ports(nodes))
        settings = {**settings, "run.folder": str(folder), "run.name": name}
        command = [c for c in bench_runs.command(program, config, settings) if c != "--quiet"]
        self.commands = {
            node: [*command, "--node", f"{node}/{nodes}", "--connect", endpoints]
            for node in range(1, nodes + 1)
        }
        self.nodes = {node: Node(node, command) for node, command in self.commands.items()}

    def start(self, node):
        """Starts a node again, with the same command."""
        self.nodes[node] = Node(node, self.commands[node])

    def summaries(self):
        """Waits for all nodes to end, and returns their summaries."""
        for node in self.nodes.values():
            code = node.process.wait()
            if code != 0:
                raise SystemExit(f"node {node.number} exited with code {code}:\n{node.said()}")
        paths = [self.folder / f"node-{number}" / "summary.json" for number in self.nodes]
        return [json.loads(path.read_text()) for path in paths]

    def events(self, node):
        """The complete lines of a node's events.jsonl."""
        text = (self.folder / f"node-{node}" / "events.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in self.nodes.values():
            if node.process.poll() is None:
                node.process.kill()
            node.process.wait()


class Node:
    """A node's process, and the lines that it prints to standard error, with their times."""

    def __init__(self, number, command):
        self.number = number
        self.started = time.monotonic()
        self.lines = []
        self.news = queue.Queue()
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stderr:
            self.lines.append(line)
            self.news.put((time.monotonic(), line))
        self.news.put((time.monotonic(), None))

    def hear(self, words, patience=60):
        """Waits for the next line that contains `words`, and returns its time of arrival."""
        until = time.monotonic() + patience
        while True:
            try:
                at, line = self.news.get(timeout=max(0, until - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise SystemExit(f"node {self.number} did not print {words!r}:\n{self.said()}")
            if words in line:
                return at

    def said(self):
        return "".join(self.lines[-20:])
