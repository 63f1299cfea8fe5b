#!/usr/bin/env python3
"""Checks the Markdown files of the repository, without a network.

    scripts/check_links.py                prints one line for each fault, and exits with 1 if there is one
    scripts/check_links.py --unquoted     prints the error texts that docs/errors.md does not quote

- Every relative link and picture leads to a file or folder of the repository, and every #anchor to a
  heading there. What git ignores does not count: it is on this machine alone.
- Every path in backticks, such as `scripts/results/chaos` or `lsgd-core/src/worker.rs`, exists.
- Every error text quoted in docs/errors.md stands in the sources. Quoted is what is between backticks in the
  first column of a table there; `…` stands for what a message fills in.
"""

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
ERRORS = PurePosixPath("docs/errors.md")
# Fewer letters than these are found anywhere.
SHORTEST = 8
# What a message fills in.
FILLED_IN = re.compile(r"\{[^{}]*\}")

FENCE = re.compile(r"^ *(```+|~~~+).*?^ *\1 *$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^\s)>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[(?!\^)[^\]]+\]:\s*<?(\S+?)>?(?:\s+\"[^\"]*\")?\s*$", re.MULTILINE)
HTML = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=\"([^\"\s]+)")
HTML_ANCHOR = re.compile(r"<\w+[^>]*?\b(?:id|name)=\"([^\"]+)\"")
HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)(?:\s+#+)?\s*$", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
PATH = re.compile(r"(?:crates|docs|scripts|configs|lsgd-\w+)/[\w./-]+")


def files():
    """Every file of the repository and every folder of one, as paths from its root."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [PurePosixPath(name) for name in names.split("\0") if name and (ROOT / name).exists()]
    return paths, {*paths, *(parent for path in paths for parent in path.parents)}


def blank(match):
    """As many lines as the match, without its text: line numbers stay."""
    return "\n" * match.group().count("\n")


def anchors(text):
    """The anchors that GitHub gives to the headings of a file, and those that it has itself."""
    text = COMMENT.sub(blank, FENCE.sub(blank, text))
    found, seen = set(HTML_ANCHOR.findall(text)), {}
    for title in HEADING.findall(text):
        title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        number = seen.get(slug, 0)
        seen[slug] = number + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found


def resolve(path, base):
    """`path` from the folder `base`, without `.` and `..`; None above the repository's root."""
    parts = []
    for part in (base / path).parts if not path.startswith("/") else PurePosixPath(path).parts[1:]:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)


def link_faults(file, text, known):
    """Links, anchors and pictures of one file that lead nowhere, as (line, fault)."""
    prose = SPAN.sub(blank, COMMENT.sub(blank, FENCE.sub(blank, text)))
    for pattern in (LINK, REFERENCE, HTML):
        for match in pattern.finditer(prose):
            target = match.group(1)
            if ELSEWHERE.match(target):
                continue
            line = prose.count("\n", 0, match.start(1)) + 1
            path, _, anchor = target.partition("#")
            path = resolve(path.replace("%20", " "), file.parent) if path else file
            if path is None or path not in known:
                yield line, f"{target} leads to no file of the repository"
            elif anchor and path.suffix == ".md" and anchor not in anchors((ROOT / path).read_text()):
                yield line, f"{target}: {path} has no such heading"


def path_faults(text, known):
    """Paths in backticks that do not exist, as (line, fault)."""
    prose = COMMENT.sub(blank, FENCE.sub(blank, text))
    for match in SPAN.finditer(prose):
        named = match.group(2)
        if PATH.fullmatch(named):
            path = PurePosixPath(named)
            if path not in known and PurePosixPath("crates") / path not in known:
                yield prose.count("\n", 0, match.start()) + 1, f"`{named}` does not exist"


def sources(paths):
    """The text of all sources, as their messages are printed: continued lines joined, escapes undone."""
    rust = [p for p in paths if p.suffix == ".rs" and p.parts[0] == "crates" and p.parts[2] == "src"]
    text = "\n".join((ROOT / path).read_text() for path in rust)
    text = re.sub(r"\\\n\s*", "", text).replace('\\"', '"').replace("\\\\", "\\")
    return text.replace("{{", "{").replace("}}", "}")


def quoted(text):
    """The texts between backticks in the first column of every table, as (line, text)."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("|"):
            first = re.split(r"(?<!\\)\|", line)[1].replace("\\|", "|")
            yield from ((number, match.group(2).strip()) for match in SPAN.finditer(first))


def pattern_of(message):
    """Finds a quoted message in the sources."""
    pieces = message.strip("…").split("…")
    return re.compile(f"(?:{FILLED_IN.pattern})+".join(map(re.escape, pieces)))


def error_faults(text, code):
    """Quoted error texts that are not in the sources, as (line, fault)."""
    for line, message in quoted(text):
        if len(message.replace("…", "")) < SHORTEST:
            yield line, f"`{message}` is too short a quotation to be looked for"
        elif not pattern_of(message).search(code):
            yield line, f"`{message}` is not in the sources"


def unquoted(text, code):
    """The texts of error enums, `#[error("...")]`, that no quotation is a part of."""
    patterns = [pattern_of(message) for _, message in quoted(text)]
    for message in re.findall(r"#\[error\(\s*\"(.*?)\"(?:,|\s*\)\])", code, re.DOTALL):
        if len(FILLED_IN.sub("", message)) >= SHORTEST and not any(p.search(message) for p in patterns):
            yield message


def main():
    paths, known = files()
    if sys.argv[1:] == ["--unquoted"]:
        print("\n".join(unquoted((ROOT / ERRORS).read_text(), sources(paths))))
        return
    if sys.argv[1:]:
        sys.exit(__doc__)
    faults = []
    for file in sorted(path for path in paths if path.suffix == ".md"):
        text = (ROOT / file).read_text()
        found = [*link_faults(file, text, known), *path_faults(text, known)]
        if file == ERRORS:
            found += error_faults(text, sources(paths))
        faults += [f"{file}:{line}: {fault}" for line, fault in sorted(found)]
    if ERRORS not in known:
        faults.append(f"{ERRORS} does not exist")
    print("\n".join(faults) if faults else "no dead links")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
