#!/usr/bin/env python3
"""Processor time for a training image of a folder, on one core: read, decode, RandomResizedCrop(224), flip,
normalise, collect into batches of 64; this program beside torchvision's transforms in a DataLoader.

    pip install torch torchvision
    python scripts/bench_images.py

The images are generated: 500 x 375 pixels of smoothed noise, JPEG of quality 90, some 100 kB each. Both run in
turn, --rounds times, each with N and with 3N images; the difference is the cost of 2N images without the start.
Processor time rather than time, so that other processes disturb less.
"""

import argparse
import io
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import bench_runs

TORCH = """
import sys, torch
from torchvision import transforms
from torchvision.datasets import ImageFolder
torch.set_num_threads(1)
transform = transforms.Compose([
    transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
loader = torch.utils.data.DataLoader(ImageFolder(sys.argv[1] + "/train", transform), batch_size=64, shuffle=True)
left, total = int(sys.argv[2]) // 64, 0.0
while left > 0:
    for images, labels in loader:
        total += float(images.sum())
        left -= 1
        if left == 0:
            break
print(total)
"""


def write_images(folder, count):
    import numpy
    from PIL import Image, ImageFilter

    random = numpy.random.default_rng(1)
    size = 0
    for split in ["train", "val"]:
        for number in range(count if split == "train" else 2):
            coarse = random.integers(0, 256, (12, 16, 3), dtype=numpy.uint8)
            coarse = numpy.asarray(Image.fromarray(coarse).resize((500, 375), Image.BICUBIC), dtype=numpy.int16)
            fine = random.integers(-48, 49, (375, 500, 3), dtype=numpy.int16)
            image = Image.fromarray(numpy.clip(coarse + fine, 0, 255).astype(numpy.uint8))
            image = image.filter(ImageFilter.GaussianBlur(0.6))
            path = folder / split / f"class{number % 2}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            data = io.BytesIO()
            image.save(data, "JPEG", quality=90)
            path.write_bytes(data.getvalue())
            size += len(data.getvalue())
    return size / (count + 2)


def seconds(command, images):
    """Processor time of a process that prepares so many images."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, str(images)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    bench_runs.options(parser)
    parser.add_argument("--images", type=bench_runs.positive, default=512, help="N [default: %(default)s]")
    arguments = parser.parse_args()
    default = bench_runs.target_folder() / "release" / "examples" / "folder_speed"
    program = arguments.binary or default
    if not program.is_file():
        sys.exit(f"{program} does not exist; run cargo build --release --workspace --examples")
    with tempfile.TemporaryDirectory() as folder:
        size = write_images(Path(folder), 256)
        commands = {
            "lsgd-train": [program, folder],
            "torchvision": [sys.executable, "-c", TORCH, folder],
        }
        rounds = []
        for _ in range(arguments.rounds):
            cost = {}
            for name, command in commands.items():
                once, thrice = (seconds(command, n * arguments.images) for n in (1, 3))
                cost[name] = (thrice - once) / (2 * arguments.images)
            rounds.append(cost)
            rates = {name: f"{1 / cost:.0f} images/s of a core" for name, cost in cost.items()}
            bench_runs.progress(rates)
    ratio = bench_runs.spread([cost["torchvision"] / cost["lsgd-train"] for cost in rounds])
    bench_runs.table(
        ["images/s of a core", "median (least to most)"],
        [["lsgd-train / torchvision", bench_runs.text(ratio, ".2f")]],
    )
    result = {
        "torch": version("torch"),
        "torchvision": version("torchvision"),
        "pillow": version("pillow"),
        "image_bytes": round(size),
        "rounds": arguments.rounds,
        "ratio": ratio,
        "processor_seconds_an_image": rounds,
    }
    bench_runs.write("images", arguments, result)


if __name__ == "__main__":
    main()
