"""Writes schedules.json: rates of PyTorch's schedulers, for tests.rs.

    python schedules.py    (PyTorch from PyPI; the test needs only the stored numbers)
"""

import json
import pathlib

import torch
from torch.optim.lr_scheduler import LinearLR, OneCycleLR, PolynomialLR, SequentialLR

STEPS = 10


def rates(make, steps=STEPS):
    """The rate of each optimizer step, one scheduler step after each."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    found = []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return found


def one_cycle(**options):
    return rates(lambda o: OneCycleLR(o, max_lr=0.1, total_steps=STEPS, cycle_momentum=False, **options))


def warmed_up(optimizer):
    """Four steps of warm-up, then a power of the rest; the first two rates of the rest are equal."""
    rise = LinearLR(optimizer, start_factor=1 / 4, total_iters=3)
    return SequentialLR(optimizer, [rise, PolynomialLR(optimizer, total_iters=6, power=2.0)], [4])


if __name__ == "__main__":
    record = {
        "torch": torch.__version__,
        "polynomial, power 1": rates(lambda o: PolynomialLR(o, total_iters=STEPS, power=1.0), STEPS + 1),
        "polynomial, power 2": rates(lambda o: PolynomialLR(o, total_iters=STEPS, power=2.0), STEPS + 1),
        "polynomial, warm-up": rates(warmed_up, STEPS + 1),
        "one_cycle": one_cycle(),
        "one_cycle, linear": one_cycle(anneal_strategy="linear"),
        "one_cycle, divisors": one_cycle(pct_start=0.25, div_factor=5.0, final_div_factor=10.0),
        "one_cycle, early peak": one_cycle(pct_start=0.05, anneal_strategy="linear"),
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(record, indent=1) + "\n")
