#!/usr/bin/env python3
"""Writes the table of storms in docs/chaos.md from scripts/results/chaos/*.json, the report.json of each run.

    lsgd-train chaos configs/chaos/storm.toml --name storm-sync
    cp runs/storm-sync/report.json scripts/results/chaos/storm-sync.json
    python scripts/chaos_table.py            # --check: only say whether the docs have this table
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
REPORTS = ROOT / "scripts" / "results" / "chaos"
DOCS = ROOT / "docs" / "chaos.md"
BEGIN, END = "<!-- storms: scripts/chaos_table.py writes this table -->", "<!-- end of storms -->"
KILLS = ["kill", "kill_all", "clock_jump"]


def percent(share):
    return "-" if share is None else f"{100 * share:.1f} %"


def seconds(report, kinds, figure):
    """The times of a figure of all faults of these kinds."""
    times = [fault[figure] for fault in report["reactions"] if fault["kind"] in kinds]
    return sorted(time for time in times if time is not None)


def median_and_worst(times):
    if not times:
        return "-"
    middle = len(times) // 2
    median = times[middle] if len(times) % 2 else (times[middle - 1] + times[middle]) / 2
    return f"{median:.1f} s, {times[-1]:.1f} s"


def recovered(report, kinds):
    faults = [fault for fault in report["reactions"] if fault["kind"] in kinds]
    back = sum(fault["recovered"] is not None for fault in faults)
    overtaken = sum(fault["overtaken"] and fault["recovered"] is None for fault in faults)
    note = f" ({overtaken} killed again before)" if overtaken else ""
    return f"{back} of {len(faults)}{note}"


def growth(report):
    """The largest growth of a node's memory and open files over the run, last over first."""
    nodes = [usage for node, usage in report["faults"]["usage"].items() if node != "0"]
    memory = max(node["resident_kib"]["last"] - node["resident_kib"]["first"] for node in nodes)
    files = max(node["open_files"]["last"] - node["open_files"]["first"] for node in nodes)
    return f"{memory / 1024:+.0f} MiB, {files:+d}"


def error(report):
    error = report["error"]
    free = error["fault_free"]
    within = "within" if error["within_spread"] else "outside"
    return f"{error['with_faults']:.2f}; {min(free):.2f} to {max(free):.2f}: {within}"


ROWS = [
    ("faults, in seconds", lambda r: f"{len(r['reactions'])} in {r['faults']['seconds']:.0f}"),
    ("faults an hour", lambda r: f"{3600 * len(r['reactions']) / r['faults']['seconds']:.0f}"),
    ("goodput, of that without faults", lambda r: percent(r["goodput_share"])),
    ("capacity that survived", lambda r: percent(r["capacity"])),
    ("goodput, of that capacity", lambda r: percent(r["goodput_share_of_capacity"])),
    ("participation", lambda r: percent(r["participation"])),
    ("killed nodes that came back", lambda r: recovered(r, KILLS)),
    ("after a kill, until the first exchange: median, worst", lambda r: median_and_worst(seconds(r, KILLS, "recovered"))),
    ("after a stop or cut, until noticed: median, worst", lambda r: median_and_worst(seconds(r, ["stop", "cut", "cut_one_way"], "noticed"))),
    ("workers that panicked or had NaN, until they started again: median, worst", lambda r: median_and_worst(seconds(r, ["panic", "nan_gradient"], "recovered"))),
    ("error at the end, in %; without faults", error),
    ("steps of killed nodes that were recorded and lost", lambda r: str(r["lost"]["steps"])),
    ("most checkpoint intervals lost when all nodes were killed", lambda r: f"{r['lost']['most_intervals_of_all']:.2f}"),
    ("nodes that did not end, faults not made", lambda r: f"{len(r['lost']['unfinished_nodes'])}, {r['lost']['missed_faults']}"),
    ("a node's memory and open files, last over first", growth),
    ("of the machine's processor time", lambda r: percent(r["faults"]["cpu_share"])),
]


def table():
    reports = {path.stem: json.loads(path.read_text()) for path in sorted(REPORTS.glob("*.json"))}
    lines = ["| | " + " | ".join(f"`{name}`" for name in reports) + " |", "|---|" + "---|" * len(reports)]
    for name, figure in ROWS:
        lines.append(f"| {name} | " + " | ".join(figure(report) for report in reports.values()) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    docs = DOCS.read_text()
    before, rest = docs.split(BEGIN)
    after = rest.split(END)[1]
    made = f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"
    if arguments.check:
        sys.exit(None if made == docs else f"{DOCS} has another table; run {sys.argv[0]}")
    DOCS.write_text(made)


if __name__ == "__main__":
    main()
