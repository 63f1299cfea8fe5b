"""Times PyTorch training steps in separate processes: the baseline of bench_cpu.py and
bench_throughput.py."""

import subprocess
import sys
import time

BATCH_SIZE = 128
# How PyTorch can be asked to compute the same: memory layout of images, and whether it compiles the network.
MODES = ("eager", "channels-last", "compiled", "compiled channels-last")


def process(model, side, steps, threads, mode="eager"):
    """Trains in this process: prints "ready", waits for a line, trains, and prints the seconds taken. A step
    is forward, backward and SGD with momentum; the first two are not timed (a network is compiled in the
    first one)."""
    import torch
    import torch_models

    torch.manual_seed(1)
    torch.set_num_threads(threads)
    network = torch_models.build(model, 10, 3, side, side)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images = torch.randn(BATCH_SIZE, 3, side, side)
    if "channels-last" in mode:
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    if "compiled" in mode:
        network = torch.compile(network)
    labels = torch.arange(BATCH_SIZE) % 10

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(2):
        step()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    print(time.perf_counter() - began, flush=True)


def speed(arguments, processes, steps):
    """Images/s of `processes` copies of the calling script, started with `arguments`, each of which calls
    `process`. They start together, and the slowest one determines the time."""
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
