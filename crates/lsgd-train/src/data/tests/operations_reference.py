"""Writes operations_reference.json: images under torchvision's operations, for operations.rs.

    python operations_reference.py    (torchvision from PyPI; the test needs only the stored numbers)

Those of TrivialAugmentWide come out of its own `_apply_op`.
"""

import json
import pathlib

import torch
import torchvision
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import _apply_op

# torchvision's name, the one in operations.rs, magnitudes.
TRIVIAL = [
    ("ShearX", "shear_x", [0.33, -0.99]),
    ("ShearY", "shear_y", [0.462, -0.198]),
    ("TranslateX", "translate_x", [3.2, -1.07]),
    ("TranslateY", "translate_y", [2.13, -32.0]),
    ("Rotate", "rotate", [4.5, -40.5, 135.0]),
    ("Brightness", "brightness", [0.33, -0.99]),
    ("Color", "saturation", [0.66, -0.33]),
    ("Contrast", "contrast", [0.99, -0.66]),
    ("Sharpness", "sharpness", [0.99, -0.99]),
    ("Posterize", "posterize", [2, 5, 8]),
    ("Solarize", "solarize", [0.0, 127.5, 255.0]),
    ("AutoContrast", "auto_contrast", [0.0]),
    ("Equalize", "equalize", [0.0]),
]
# What is added to a magnitude: factors of one change nothing.
FACTORS = {"brightness", "saturation", "contrast", "sharpness"}


ALL = {own for _, own, _ in TRIVIAL} | {"hue"}


def images():
    """Three planes and one, of no special values; one of a single value; one large enough to be equalized. With
    each its operations."""
    drawn = torch.Generator().manual_seed(7)
    yield torch.randint(20, 230, (3, 7, 9), generator=drawn, dtype=torch.uint8), ALL
    yield torch.randint(0, 256, (1, 16, 17), generator=drawn, dtype=torch.uint8), ALL
    yield torch.full((3, 4, 2), 77, dtype=torch.uint8), ALL
    smooth = torch.arange(3 * 17 * 17).reshape(3, 17, 17)
    yield (smooth * 37 // 41 % 97 + 40).to(torch.uint8), {"auto_contrast", "equalize"}


def results(image):
    for name, own, magnitudes in TRIVIAL:
        for magnitude in magnitudes:
            out = _apply_op(image.clone(), name, magnitude, InterpolationMode.NEAREST, None)
            yield own, 1.0 + magnitude if own in FACTORS else magnitude, out
    for by in [-0.5, -0.13, 0.07, 0.4]:
        yield "hue", by, F.adjust_hue(image, by)


if __name__ == "__main__":
    cases = [
        {
            "shape": list(image.shape),
            "image": image.flatten().tolist(),
            "results": [
                {"operation": name, "magnitude": magnitude, "image": out.flatten().tolist()}
                for name, magnitude, out in results(image)
                if name in operations
            ],
        }
        for image, operations in images()
    ]
    record = {"torchvision": torchvision.__version__, "cases": cases}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(record, separators=(",", ":")) + "\n")
