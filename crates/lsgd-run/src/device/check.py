#!/usr/bin/env python3
"""The numbers that check.rs expects, from PyTorch in double precision.

usage: check.py          (needs torch; prints the constants)
"""
import torch
import torch.nn.functional as F


def values(phase, *shape):
    count = int(torch.tensor(shape).prod())
    wave = torch.sin(0.7 * torch.arange(count, dtype=torch.float64) + phase)
    return wave.to(torch.float32).to(torch.float64).reshape(shape)


shapes = [(8, 3, 3, 3), (8,), (8,), (8, 8, 3, 3), (8, 4), (4,)]
parameters = [(0.3 * values(1.0 + n, *shape)).float().double() for n, shape in enumerate(shapes)]
parameters = [p.requires_grad_() for p in parameters]
images = values(0.0, 8, 3, 16, 16)
labels = torch.arange(8) % 4


def loss():
    first, scale, shift, second, matrix, bias = parameters
    x = F.conv2d(images, first, padding=1)
    x = F.batch_norm(x, None, None, 1.0 + scale, shift, training=True, eps=1e-5)
    x = F.max_pool2d(F.relu(x), 2)
    x = F.relu(F.conv2d(x, second, stride=2, padding=1))
    return F.cross_entropy(x.mean((2, 3)) @ matrix + bias, labels)


before = loss()
before.backward()
print(f"const BEFORE: f64 = {before.item():.9};")
print("const GRADIENTS: [(f64, f64); 6] = [")
for n, p in enumerate(parameters):
    probe = values(10.0 + n, *p.shape)
    print(f"    ({(p.grad * probe).sum().item():.9}, {p.grad.norm().item():.9}),")
print("];")
with torch.no_grad():
    for p in parameters:
        p -= 0.1 * p.grad
print(f"const AFTER: f64 = {loss().item():.9};")
