#!/usr/bin/env python3
"""Checks that PyTorch reads an exported model and computes the same: loads MODEL strictly into the PyTorch
definition in torch_models.py, and compares its logits with those of lsgd-train.

    lsgd-train export runs/first --output model.safetensors
    lsgd-train eval runs/first --logits logits.safetensors
    python scripts/verify_export.py model.safetensors logits.safetensors --model resnet20

With --onnx FILE it also writes the model as ONNX, for a batch of any size, and compares ONNX Runtime's logits.

Needs torch, numpy and safetensors; with --onnx also onnx, onnxscript and onnxruntime. Exits with 1 if a name, a
shape or a logit differs.
"""

import argparse
import sys

import torch
import torch_models
from safetensors.torch import load_file

# Largest allowed difference between logits, relative to the largest logit.
TOLERANCE = 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("exported", metavar="MODEL", help="file written by lsgd-train export")
    parser.add_argument("logits", metavar="LOGITS", help="file written by lsgd-train eval --logits")
    parser.add_argument("--model", required=True, choices=torch_models.KINDS)
    parser.add_argument("--onnx", metavar="FILE", help="write the model as ONNX too, and compare it")
    parser.add_argument("--width", type=int, default=16, help="model.width of the run's config")
    arguments = parser.parse_args()

    reference = load_file(arguments.logits)
    images, expected = reference["images"], reference["logits"]
    channels, height, width = images.shape[1:]
    model = torch_models.build(
        arguments.model,
        classes=expected.shape[1],
        channels=channels,
        height=height,
        width=width,
        base_width=arguments.width,
    )
    try:
        torch_models.load(model, load_file(arguments.exported))
    # ValueError for a name, RuntimeError for a shape.
    except (ValueError, RuntimeError) as error:
        sys.exit(f"{arguments.exported}: {error}")
    with torch.no_grad():
        logits = model.eval()(images)

    same = compare(arguments.model, logits, expected)
    if arguments.onnx:
        logits = through_onnx(model, images, arguments.onnx)
        same = compare(f"{arguments.model} in {arguments.onnx}", logits, expected) and same
    sys.exit(0 if same else 1)


def compare(name, logits, expected):
    scale = expected.abs().max().item()
    difference = (logits - expected).abs().max().item() / scale
    same = bool(torch.isfinite(expected).all()) and difference <= TOLERANCE
    print(
        f"{name}: {len(expected)} images, largest difference between logits "
        f"{difference:.1e} of the largest logit ({scale:.3g}), tolerance {TOLERANCE:.0e}: "
        f"{'the same' if same else 'NOT the same'}"
    )
    return same


def through_onnx(model, images, path):
    """Writes the model for any number of images; returns ONNX Runtime's logits of these."""
    import onnxruntime

    torch.onnx.export(
        model,
        (images[:2],),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        external_data=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    return torch.from_numpy(logits)


if __name__ == "__main__":
    main()
