#!/usr/bin/env python3
"""Writes convolution.json and batch_norm.json beside this script: PyTorch's results and gradients for
operations of the kinds that the models have, computed in double precision.

    python make.py            (needs torch)
"""

import json
from pathlib import Path

import torch
from torch.nn import functional as F

HERE = Path(__file__).parent

# name, batch, channels, image, kernel, stride, padding
CONVOLUTIONS = [
    ("3x3", 2, (3, 5), (9, 10), (3, 3), (1, 1), (1, 1)),
    ("3x3 at stride 2", 2, (3, 4), (8, 9), (3, 3), (2, 2), (1, 1)),
    ("5x5 without padding", 2, (2, 3), (12, 12), (5, 5), (1, 1), (0, 0)),
    ("1x1 at stride 2", 3, (4, 6), (6, 5), (1, 1), (2, 2), (0, 0)),
    ("3x3 on a small image", 9, (3, 4), (2, 2), (3, 3), (1, 1), (1, 1)),
    ("7x7 at stride 2", 1, (3, 4), (15, 16), (7, 7), (2, 2), (3, 3)),
]
NORMS = [("nothing", (4, 3, 5, 6)), ("relu", (3, 5, 4, 7)), ("add_relu", (4, 4, 6, 5))]


def stored(tensor):
    values = [float(f"{value:.8g}") for value in tensor.detach().flatten().tolist()]
    return {"shape": list(tensor.shape), "values": values}


def drawn(*shape):
    # As they are stored, so that both sides begin with the same.
    return torch.randn(shape).double().mul(1e4).round().div(1e4)


def convolution(name, batch, channels, image, kernel, stride, padding):
    x = drawn(batch, channels[0], *image).requires_grad_()
    weight = drawn(channels[1], channels[0], *kernel).requires_grad_()
    bias = drawn(channels[1]).requires_grad_()
    y = F.conv2d(x, weight, bias, stride, padding)
    by = drawn(*y.shape)
    (y * by).sum().backward()
    tensors = {"x": x, "weight": weight, "bias": bias, "y": y, "by": by}
    tensors |= {f"{k}_gradient": tensors[k].grad for k in ("x", "weight", "bias")}
    shapes = {"name": name, "stride": stride, "padding": padding}
    return shapes | {key: stored(tensor) for key, tensor in tensors.items()}


def batch_norm(then, shape):
    channels = shape[1]
    x = (drawn(*shape) * 3 + 1).round(decimals=4).requires_grad_()
    scale, shift = drawn(channels).requires_grad_(), drawn(channels).requires_grad_()
    residual = drawn(*shape).requires_grad_()
    y = F.batch_norm(x, None, None, scale, shift, training=True, eps=1e-5)
    if then == "add_relu":
        y = y + residual
    if then != "nothing":
        y = F.relu(y)
    by = drawn(*shape)
    (y * by).sum().backward()
    tensors = {"x": x, "scale": scale, "shift": shift, "residual": residual, "y": y, "by": by}
    tensors["mean"] = x.mean((0, 2, 3))
    tensors["variance"] = x.var((0, 2, 3), unbiased=False)
    names = ("x", "scale", "shift") + (("residual",) if then == "add_relu" else ())
    tensors |= {f"{name}_gradient": tensors[name].grad for name in names}
    return {"name": then, "then": then} | {key: stored(t) for key, t in tensors.items()}


def write(name, cases):
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / name).write_text(f"[\n{lines}\n]\n")


torch.manual_seed(1)
write("convolution.json", [convolution(*case) for case in CONVOLUTIONS])
write("batch_norm.json", [batch_norm(*case) for case in NORMS])
