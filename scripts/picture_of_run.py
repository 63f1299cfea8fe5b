#!/usr/bin/env python3
"""Two charts of a run's report.html as a picture: who led when, and below it the errors.

    python scripts/picture_of_run.py runs/cifar10-2-cores docs/cifar10-2-cores.png     (needs Chromium)
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

CHARTS = ("Who led when", "error (%) on held-out examples")
WIDTH, HEIGHT, SCALE = 800, 600, 1.5


def page(report):
    """The charts alone, in the report's own style."""
    style = "".join(re.findall(r"<style.*?</style>", report, re.DOTALL))
    figures = re.findall(r"<figure .*?</figure>", report, re.DOTALL)
    chosen = [next(figure for figure in figures if f'aria-label="{chart}"' in figure) for chart in CHARTS]
    return f"<!doctype html><meta charset=utf-8>{style}<body style='margin: 12px'>{''.join(chosen)}</body>"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    run, picture = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "charts.html")
        file.write_text(page((run / "report.html").read_text()))
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--disable-background-networking", f"--user-data-dir={folder}/profile",
                f"--force-device-scale-factor={SCALE}", f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={picture.resolve()}", file.as_uri(),
            ],
            check=True, stderr=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    main()
