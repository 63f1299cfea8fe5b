"""Writes optimizers.json: a few weights under PyTorch's optimizers, for tests/optimizers.

    python optimizers.py    (PyTorch from PyPI, 2.9 or later; the test needs only the stored numbers)

Lion and LAMB, which PyTorch has not, are written down here from their papers.
"""

import inspect
import json
import math
import pathlib

import torch
import torch.optim._muon as torch_muon

START = [0.5, -1.25, 2.0]
GRADIENTS = [[0.3, -0.7, 0.11], [-0.2, 0.45, 0.9], [1.5, 0.0, -0.6], [0.05, -0.3, 0.2], [-0.9, 0.8, 0.4]]
RATES = [0.1, 0.1, 0.05, 0.05, 0.01]


class Lion(torch.optim.Optimizer):
    """Chen et al., arXiv 2302.06675, Algorithm 2."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                moment = self.state[weight].setdefault("m", torch.zeros_like(weight))
                direction = (first * moment + (1 - first) * weight.grad).sign()
                weight -= group["lr"] * (direction + group["weight_decay"] * weight)
                self.state[weight]["m"] = second * moment + (1 - second) * weight.grad


class Lamb(torch.optim.Optimizer):
    """You et al., arXiv 1904.00962, Algorithm 2, with phi the identity; a ratio of norms that is not a number, or
    zero, is 1."""

    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                state = self.state[weight]
                step = state["step"] = state.get("step", 0) + 1
                state["m"] = first * state.get("m", 0.0) + (1 - first) * weight.grad
                state["v"] = second * state.get("v", 0.0) + (1 - second) * weight.grad**2
                root = (state["v"] / (1 - second**step)).sqrt()
                update = state["m"] / (1 - first**step) / (root + group["eps"]) + group["weight_decay"] * weight
                ratio = weight.norm() / update.norm()
                weight -= group["lr"] * (ratio if ratio > 0 and ratio.isfinite() else 1.0) * update


CASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1.0),
    "sgd, weight decay": lambda p: torch.optim.SGD(p, lr=1.0, weight_decay=0.05),
    "sgd, momentum": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, weight_decay=0.05),
    "sgd, nesterov": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, nesterov=True, weight_decay=0.05),
    "adam": lambda p: torch.optim.Adam(p, lr=1.0, weight_decay=0.05),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1.0, weight_decay=0.05),
    "lion": lambda p: Lion(p, lr=1.0, weight_decay=0.05),
    "lamb": lambda p: Lamb(p, lr=1.0, weight_decay=0.05),
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
    "lion": lambda w, b: Lion(groups(w, b), lr=1.0),
    "lamb": lambda w, b: Lamb(groups(w, b), lr=1.0),
}

CLIPS = {
    "norm 1": lambda p: torch.nn.utils.clip_grad_norm_(p, 1.0),
    "norm 0.1": lambda p: torch.nn.utils.clip_grad_norm_(p, 0.1),
    "norm 100": lambda p: torch.nn.utils.clip_grad_norm_(p, 100.0),
    "value 0.4": lambda p: torch.nn.utils.clip_grad_value_(p, 0.4),
}


def momentum(weights, bias):
    return torch.optim.SGD([weights, bias], lr=1.0, momentum=0.9, weight_decay=0.05)


# A kernel (out, in, height, width), a matrix, the last layer's matrix, a bias.
SHAPES = {"kernel": [2, 1, 2, 2], "matrix": [3, 2], "head": [2, 2], "bias": [3]}

MUON = {
    "muon": {"momentum": 0.95, "nesterov": True, "weight_decay": 0.05},
    "plain": {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
    "no momentum": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.05},
}


def unrounded():
    """PyTorch's Newton-Schulz iteration in the gradient's own type, not in bfloat16."""
    source = inspect.getsource(torch_muon._zeropower_via_newtonschulz)
    assert source.count("torch.bfloat16") == 1
    exec(source.replace("torch.bfloat16", "grad.dtype"), torch_muon.__dict__)


def drawn(seed):
    """Values for all shapes, some of them negative, no two alike."""
    values, count = {}, 0
    for name, shape in SHAPES.items():
        size = math.prod(shape)
        values[name] = [round(math.sin(7.3 * seed + 1.7 * (count + i)), 3) for i in range(size)]
        count += size
    return values


def muon(options):
    """Muon for the kernel, as a matrix with a row for each output channel, and the matrix; AdamW for the rest."""
    of = lambda values: {name: torch.tensor(values[name], dtype=torch.float64).reshape(shape) for name, shape in SHAPES.items()}
    parameters = {name: torch.nn.Parameter(value) for name, value in of(drawn(0)).items()}
    flat = lambda value: value.flatten(1)
    kernel = torch.nn.Parameter(flat(parameters["kernel"].detach()))
    matrices = torch.optim.Muon([kernel, parameters["matrix"]], adjust_lr_fn="match_rms_adamw", **options)
    others = torch.optim.AdamW([parameters["head"], parameters["bias"]], weight_decay=options["weight_decay"])
    trace = []
    for step, rate in enumerate(RATES):
        gradients = of(drawn(step + 1))
        kernel.grad = flat(gradients["kernel"])
        for name in ["matrix", "head", "bias"]:
            parameters[name].grad = gradients[name]
        for optimizer in [matrices, others]:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        now = [kernel, parameters["matrix"], parameters["head"], parameters["bias"]]
        trace.append([value for tensor in now for value in tensor.detach().flatten().tolist()])
    return trace


if __name__ == "__main__":
    unrounded()
    record = {
        "torch": torch.__version__,
        "start": START,
        "gradients": GRADIENTS,
        "rates": RATES,
        "weights": {name: run(make) for name, make in CASES.items()},
        "lars": lars(momentum=0.9, decay=0.05),
        "groups": {name: layer(make) for name, make in GROUPS.items()},
        "clipped": {name: layer(momentum, clip) for name, clip in CLIPS.items()},
        "muon": {
            "start": drawn(0),
            "gradients": [drawn(step + 1) for step in range(len(RATES))],
            "values": {name: muon(options) for name, options in MUON.items()},
        },
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(record, indent=1) + "\n")
