#!/usr/bin/env python3
"""Writes resize_reference.json: parts of an image as torchvision's own transforms resize them.

    pip install torch torchvision
    python resize_reference.py
"""

import json
from pathlib import Path

from PIL import Image
from torchvision.transforms import functional

REGIONS = [(0, 0, 50, 37), (3, 5, 40, 30), (10, 2, 13, 29), (20, 20, 8, 7), (44, 30, 6, 7)]


def image(width, height):
    """The image that the test makes, too."""
    made = Image.new("RGB", (width, height))
    pixel = lambda x, y: tuple((7 * x + 13 * y + 50 * c + x * y * (c + 1) // 5) % 256 for c in range(3))
    made.putdata([pixel(x, y) for y in range(height) for x in range(width)])
    return made


def cases():
    for left, top, width, height in REGIONS:
        of = image(50, 37)
        resized = functional.resized_crop(of, top, left, height, width, [16, 16])
        yield {"region": [left, top, width, height], "side": 16, "pixels": list(resized.tobytes())}
    for size in [(50, 37), (37, 50), (16, 90), (19, 19), (16, 88), (88, 16), (18, 83)]:
        resized = functional.center_crop(functional.resize(image(*size), 18), 16)
        yield {"size": size, "shorter": 18, "side": 16, "pixels": list(resized.tobytes())}


lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases())
Path(__file__).with_suffix(".json").write_text(f"[\n{lines}\n]\n")
