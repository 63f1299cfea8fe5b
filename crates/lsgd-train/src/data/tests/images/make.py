"""Makes the images that the `image` crate cannot: python make.py (needs Pillow and NumPy).

cmyk.jpg is red on the left and blue on the right, progressive.jpg a gradient in colour.
"""

import pathlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent

halves = Image.new("RGB", (16, 8), (255, 0, 0))
halves.paste((0, 0, 255), (8, 0, 16, 8))
halves.convert("CMYK").save(HERE / "cmyk.jpg", quality=95)

y, x = np.mgrid[0:24, 0:32]
gradient = np.stack([8 * x, 10 * y, 8 * (x * y % 32)], axis=-1).astype(np.uint8)
Image.fromarray(gradient).save(HERE / "progressive.jpg", quality=90, progressive=True)
