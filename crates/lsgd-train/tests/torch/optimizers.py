"""Writes optimizers.json: three weights under PyTorch's optimizers, for tests/optimizers.rs.

    python optimizers.py    (PyTorch from PyPI; the test needs only the stored numbers)
"""

import json
import pathlib

import torch

START = [0.5, -1.25, 2.0]
GRADIENTS = [[0.3, -0.7, 0.11], [-0.2, 0.45, 0.9], [1.5, 0.0, -0.6], [0.05, -0.3, 0.2], [-0.9, 0.8, 0.4]]
RATES = [0.1, 0.1, 0.05, 0.05, 0.01]

CASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1.0),
    "sgd, weight decay": lambda p: torch.optim.SGD(p, lr=1.0, weight_decay=0.05),
    "sgd, momentum": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, weight_decay=0.05),
    "sgd, nesterov": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, nesterov=True, weight_decay=0.05),
    "adam": lambda p: torch.optim.Adam(p, lr=1.0, weight_decay=0.05),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1.0, weight_decay=0.05),
}


def lars(momentum, decay, trust=0.001):
    """LARS (arXiv 1708.03888, Algorithm 1), which PyTorch has not, on the weights as a matrix of 3 rows."""
    weights, velocity, trace = torch.tensor(START, dtype=torch.float64), torch.zeros(3), []
    for rate, gradient in zip(RATES, GRADIENTS):
        gradient = torch.tensor(gradient, dtype=torch.float64)
        local = trust * weights.norm() / (gradient.norm() + decay * weights.norm())
        velocity = momentum * velocity + rate * local * (gradient + decay * weights)
        weights = weights - velocity
        trace.append(weights.tolist())
    return trace


def run(make):
    weights = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer = make([weights])
    trace = []
    for rate, gradient in zip(RATES, GRADIENTS):
        for group in optimizer.param_groups:
            group["lr"] = rate
        weights.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        trace.append(weights.detach().tolist())
    return trace


def layer(make, clip=lambda parameters: None):
    """The weights, and a bias of two of them with their gradients."""
    weights = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64))
    bias = torch.nn.Parameter(torch.tensor(START[:2], dtype=torch.float64))
    optimizer = make(weights, bias)
    trace = []
    for rate, gradient in zip(RATES, GRADIENTS):
        for group in optimizer.param_groups:
            group["lr"] = rate
        weights.grad = torch.tensor(gradient, dtype=torch.float64)
        bias.grad = torch.tensor(gradient[:2], dtype=torch.float64)
        clip([weights, bias])
        optimizer.step()
        trace.append(weights.detach().tolist() + bias.detach().tolist())
    return trace


def groups(weights, bias):
    return [{"params": [weights], "weight_decay": 0.05}, {"params": [bias], "weight_decay": 0.0}]


GROUPS = {
    "sgd": lambda w, b: torch.optim.SGD(groups(w, b), lr=1.0, momentum=0.9, nesterov=True),
    "adam": lambda w, b: torch.optim.Adam(groups(w, b), lr=1.0),
    "adamw": lambda w, b: torch.optim.AdamW(groups(w, b), lr=1.0),
}

CLIPS = {
    "norm 1": lambda p: torch.nn.utils.clip_grad_norm_(p, 1.0),
    "norm 0.1": lambda p: torch.nn.utils.clip_grad_norm_(p, 0.1),
    "norm 100": lambda p: torch.nn.utils.clip_grad_norm_(p, 100.0),
    "value 0.4": lambda p: torch.nn.utils.clip_grad_value_(p, 0.4),
}


def momentum(weights, bias):
    return torch.optim.SGD([weights, bias], lr=1.0, momentum=0.9, weight_decay=0.05)


if __name__ == "__main__":
    record = {
        "torch": torch.__version__,
        "start": START,
        "gradients": GRADIENTS,
        "rates": RATES,
        "weights": {name: run(make) for name, make in CASES.items()},
        "lars": lars(momentum=0.9, decay=0.05),
        "groups": {name: layer(make) for name, make in GROUPS.items()},
        "clipped": {name: layer(momentum, clip) for name, clip in CLIPS.items()},
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(record, indent=1) + "\n")
