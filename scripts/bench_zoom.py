#!/usr/bin/env python3
"""Measures how long the charts of a report take to zoom, in headless Chromium.

    pip install websocket-client
    python scripts/bench_report.py --rounds 1 --keep runs/long
    lsgd-train report runs/long/bench --out long.html
    python scripts/bench_zoom.py long.html

Each chart gets five keys (in twice, to the right, out, all); the time of each is from the key until the page is idle.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import websocket

PORT = 9333
KEYS = """(async () => {
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const times = [];
  for (const chart of document.querySelectorAll(".u-over")) {
    chart.scrollIntoView();
    await frame();
    for (const key of ["+", "+", "ArrowRight", "-", "Home"]) {
      const begin = performance.now();
      chart.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      await new Promise((resolve) => setTimeout(resolve, 0));
      times.push(performance.now() - begin);
      await frame();
    }
  }
  return JSON.stringify(times);
})()"""


def page():
    """The address at which the page takes commands, once Chromium has opened it."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/json") as answer:
                pages = [tab for tab in json.load(answer) if tab["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        except urllib.error.URLError:
            pass
        time.sleep(0.1)
    sys.exit("Chromium did not start")


def zooms(address):
    connection = websocket.create_connection(address, timeout=60)
    parameters = {"expression": KEYS, "awaitPromise": True, "returnByValue": True}
    connection.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": parameters}))
    while (message := json.loads(connection.recv())).get("id") != 1:
        pass
    return json.loads(message["result"]["result"]["value"])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as profile:
        command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            f"--remote-debugging-port={PORT}", "--remote-allow-origins=*", f"--user-data-dir={profile}",
            "--window-size=1400,1000", Path(sys.argv[1]).resolve().as_uri(),
        ]
        browser = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            address = page()
            time.sleep(3)  # The charts are drawn.
            times = zooms(address)
        finally:
            browser.terminate()
            browser.wait()
    print(f"{len(times)} zooms: median {statistics.median(times):.1f} ms, largest {max(times):.1f} ms")


if __name__ == "__main__":
    main()
