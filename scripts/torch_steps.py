"""Training steps of PyTorch, timed in processes of their own: what bench_cpu.py and
bench_throughput.py compare with."""

import subprocess
import sys
import time

BATCH_SIZE = 128


def process(model, side, steps, threads):
    """Trains in this process: says that it is ready, waits for a line, prints seconds. A step is
    forward, backward and SGD with momentum; the first is not timed."""
    import torch
    import torch_models

    torch.manual_seed(1)
    torch.set_num_threads(threads)
    network = torch_models.build(model, 10, 3, side, side)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images = torch.randn(BATCH_SIZE, 3, side, side)
    labels = torch.arange(BATCH_SIZE) % 10

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    step()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    print(time.perf_counter() - began, flush=True)


def speed(arguments, processes, steps):
    """Images/s of so many processes of the calling script with these arguments, each of which calls
    `process`. They start together, the slowest one counts."""
    command = [sys.executable, sys.argv[0], *map(str, arguments)]
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipe) for _ in range(processes)]
    for each in running:
        if each.stdout.readline().strip() != "ready":
            sys.exit("PyTorch did not start; is torch installed?")
    for each in running:
        each.stdin.write("go\n")
        each.stdin.flush()
    seconds = max(float(each.stdout.readline()) for each in running)
    for each in running:
        each.communicate()
    return processes * steps * BATCH_SIZE / seconds
