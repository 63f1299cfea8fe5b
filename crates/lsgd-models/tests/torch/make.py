"""Writes the PyTorch numbers that tests/models/against_torch.rs compares with.

    python -m venv venv && venv/bin/pip install torch torchvision
    venv/bin/python crates/lsgd-models/tests/torch/make.py

Weights, images and labels are a closed formula of the tensor's name and the element's index
(`values` below, `tests/models/reference.rs` in Rust), so only results are stored. Everything is
computed in float64 from float32 weights: the stored numbers are exact to the nine digits
written, and the test sees the error of the Rust side alone.

Writes beside this file: one KIND.json a case, and catalogue.json with the names, shapes and
parameter counts of all models.
"""

import json
import pathlib
import sys

import numpy as np
import torch
import torchvision
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[3] / "scripts"))
import torch_models  # noqa: E402

BATCH = 4
CLASSES = 10
# kind: (channels, height, width)
CASES = {
    "cnn7": (3, 28, 28),
    "resnet8": (1, 8, 8),
    "resnet20": (3, 32, 32),
    "resnet18": (3, 64, 64),
    "resnet34": (3, 64, 64),
    "resnet50": (3, 64, 64),
    "vgg11": (3, 32, 32),
    "vgg13": (3, 32, 32),
    "vgg16": (3, 32, 32),
    "vgg19": (3, 32, 32),
    "cifarnet": (3, 32, 32),
}
# The deepest CIFAR ResNets repeat ResNet-20's names; their counts are stored, their names not.
WITHOUT_NAMES = ("resnet32", "resnet44", "resnet56", "resnet110")


def values(name, count):
    """`count` numbers in [-1, 1): splitmix64 of the name's FNV-1a hash and the index."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    index = np.arange(1, count + 1, dtype=np.uint64)
    z = np.uint64(seed) + index * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0


def weight(name, shape):
    """The tensor's start: He-sized weights, scales near one, shifts near nought."""
    u = values(name, int(np.prod(shape)))
    if len(shape) > 1:
        u = u * np.sqrt(6.0 / np.prod(shape[1:]))
    elif name.endswith("running_var"):
        u = 1.0 + 0.5 * u
    elif name.endswith("weight"):
        u = 1.0 + 0.2 * u
    else:
        u = 0.1 * u
    return torch.from_numpy(u.astype(np.float32)).reshape(shape)


def stored(tensor):
    """A tensor as a list of nine-digit numbers."""
    return [float(f"{v:.9g}") for v in tensor.detach().flatten().tolist()]


def tensors(model):
    """The state dict without BatchNorm's batch counters."""
    return {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}


def case(kind, channels, height, width):
    model = torch_models.build(kind, CLASSES, channels, height, width, dropout=0.0)
    torch_models.load(model, {k: weight(k, tuple(v.shape)) for k, v in tensors(model).items()})
    model = model.double()
    shape = (BATCH, channels, height, width)
    images = torch.from_numpy(values("images", int(np.prod(shape))).astype(np.float32))
    images = images.double().reshape(shape)
    labels = torch.tensor([(7 * i + 3) % CLASSES for i in range(BATCH)])

    model.eval()
    with torch.no_grad():
        evaluated = model(images)

    # Elements a channel that each BatchNorm averages over, to undo PyTorch's n/(n-1).
    counts = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(
                lambda _, inputs, __, name=name: counts.update({name: inputs[0].numel() // inputs[0].shape[1]})
            )
    model.train()
    logits = model(images)
    loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()

    gradients = {
        name: {"norm": float(f"{p.grad.norm().item():.9g}"), "first": stored(p.grad.flatten()[:4])}
        for name, p in model.named_parameters()
    }
    after = model.state_dict()
    running = {
        name: {
            "count": count,
            "mean": stored(after[name + ".running_mean"][:4]),
            "variance": stored(after[name + ".running_var"][:4]),
        }
        for name, count in counts.items()
    }
    return {
        "torch": torch.__version__,
        "kind": kind,
        "classes": CLASSES,
        "shape": shape,
        "labels": labels.tolist(),
        "evaluate": stored(evaluated),
        "train": stored(logits),
        "loss": float(f"{loss.item():.9g}"),
        "gradients": gradients,
        "running": running,
    }


def catalogue():
    result = {}
    for kind in torch_models.KINDS:
        imagenet = kind in torch_models.IMAGENET
        side = 224 if imagenet else 28 if kind == "cnn7" else 32
        classes = 1000 if imagenet else CLASSES
        model = torch_models.build(kind, classes, 3, side, side)
        if kind in torch_models.VGG_CONVOLUTIONS:
            # As docs/data.md says: torchvision's class with the head of here, names strict.
            theirs = getattr(torchvision.models, kind + "_bn")(num_classes=classes)
            theirs.avgpool = nn.Identity()
            theirs.classifier = model.classifier
            theirs.load_state_dict(tensors(model))
        shapes = {} if kind in WITHOUT_NAMES else {k: list(v.shape) for k, v in tensors(model).items()}
        result[kind] = {
            "classes": classes,
            "shape": [3, side, side],
            "trainable": torch_models.trainable(model),
            "tensors": shapes,
        }
    return result


def write(name, content):
    """One line per top-level key, so that a change shows in a diff."""
    lines = [f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in content.items()]
    (HERE / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for kind, shape in CASES.items():
        write(f"{kind}.json", case(kind, *shape))
    write("catalogue.json", catalogue())
