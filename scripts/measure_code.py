#!/usr/bin/env python3
"""Reports the size and structure of the code: lines per crate, the longest files, the functions with the
most arguments, and import cycles between the modules of a crate.

    scripts/measure_code.py            a report
    scripts/measure_code.py --check    exit with 1 if there is an import cycle

A cycle is a set of files that all use each other, directly or indirectly. A module and its parent module
do not count as using each other, because `mod.rs` re-exports what is in its files and these use what it
defines for all of them. An item that a file takes through a re-export in `mod.rs` counts as taken from the
file that defines it. Tests inside files are ignored.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOWN = 8


def code(path):
    """The text of a file without comments, strings and its test module."""
    text = path.read_text()
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.DOTALL)
    return re.split(r"#\[cfg\(test\)\]\s*mod \w+\s*\{", text)[0]


def module_of(source, path):
    """The module path of a file, such as ("run", "folder"); () for lib.rs and main.rs."""
    parts = path.relative_to(source).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts


def uses(tree, prefix=()):
    """The paths in a use tree, as (path, local name)."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if brace:
        prefix += tuple(part for part in head.strip().split("::") if part)
        for part in split_at_commas(rest[: rest.rindex("}")]):
            yield from uses(part, prefix)
        return
    path, _, alias = tree.partition(" as ")
    path = prefix + tuple(part.strip() for part in path.split("::") if part.strip())
    if path and path[-1] == "self":
        path = path[:-1]
    if path:
        yield path, alias.strip() or path[-1]


def split_at_commas(text):
    depth, begin = 0, 0
    for index, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            yield text[begin:index]
            begin = index + 1
    if text[begin:].strip():
        yield text[begin:]


class Crate:
    def __init__(self, folder):
        source = folder / "src"
        self.files = {}
        self.code = {}
        for path in sorted(source.rglob("*.rs")):
            module = module_of(source, path)
            if module and module[-1] == "tests" or "tests" in module:
                continue
            if path.name == "main.rs" and (source / "lib.rs").exists():
                continue
            self.files[module] = path
            self.code[module] = code(path)
        self.names = {module: dict(self.imports(module)) for module in self.files}

    def imports(self, module):
        """Names that a module imports, with their paths from the crate's root."""
        for tree in re.findall(r"\buse\s+([^;]+);", self.code[module]):
            for path, name in uses(tree):
                absolute = self.absolute(module, path)
                if absolute is not None:
                    yield name, absolute

    def absolute(self, module, path):
        """A path from the crate's root; None if it belongs to another crate."""
        if path[0] == "crate":
            return path[1:]
        if path[0] in ("self", "super"):
            while path and path[0] in ("self", "super"):
                module = module[:-1] if path[0] == "super" else module
                path = path[1:]
            return module + path
        return module + path if module + path[:1] in self.files else None

    def defined_in(self, path, seen=()):
        """The module that defines the item at a path."""
        length = max(n for n in range(len(path) + 1) if path[:n] in self.files)
        module, rest = path[:length], path[length:]
        behind = self.names[module].get(rest[0]) if rest else None
        if behind is None or behind == path[: length + 1] or behind in seen:
            return module
        return self.defined_in(behind + rest[1:], seen + (behind,))

    def edges(self, module):
        paths = list(self.names[module].values())
        inline = re.findall(r"\b((?:crate|super)(?:::\w+)+)", self.code[module])
        paths += [self.absolute(module, tuple(path.split("::"))) for path in inline]
        used = {self.defined_in(path) for path in paths}
        return {
            other
            for other in used
            if other != module[: len(other)] and module != other[: len(module)]
        }

    def cycles(self):
        """Sets of modules that use each other, largest first (Tarjan's strongly connected components)."""
        edges = {module: self.edges(module) for module in self.files}
        index, low, stack, found = {}, {}, [], []

        def visit(module):
            index[module] = low[module] = len(index)
            stack.append(module)
            for other in edges[module]:
                if other not in index:
                    visit(other)
                if other in stack:
                    low[module] = min(low[module], low[other])
            if low[module] == index[module]:
                cut = stack.index(module)
                if len(stack) - cut > 1:
                    found.append(sorted(stack[cut:]))
                del stack[cut:]

        for module in edges:
            if module not in index:
                visit(module)
        return sorted(found, key=len, reverse=True)


def arguments(text):
    """Functions and the number of their arguments, `self` included."""
    for match in re.finditer(r"\bfn (\w+)\s*(?:<[^({]*>)?\s*\(", text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            arrow = text[end - 1 : end + 1] == "->"
            depth += (text[end] in "([{<") - (text[end] in ")]}>" and not arrow)
            end += 1
        inside = re.sub(r"<[^<>]*>|\([^()]*\)|\[[^\[\]]*\]", "", text[match.end() : end - 1])
        yield match.group(1), len([part for part in inside.split(",") if part.strip()])


def lines(paths):
    return sum(len(path.read_text().splitlines()) for path in paths)


def main():
    crates = sorted(path.parent for path in ROOT.glob("crates/*/Cargo.toml"))
    sizes, functions, cycles = [], [], []
    print(f"{'crate':<14} {'src':>7} {'tests, examples, benches':>26}")
    for folder in crates:
        source = sorted((folder / "src").rglob("*.rs"))
        other = [p for d in ("tests", "examples", "benches") for p in (folder / d).rglob("*.rs")]
        print(f"{folder.name:<14} {lines(source):>7} {lines(other):>26}")
        sizes += [(lines([path]), path) for path in source]
        functions += [(n, name, path) for path in source for name, n in arguments(code(path))]
        cycles += [(folder.name, cycle) for cycle in Crate(folder).cycles()]
    print("\nlongest files")
    for count, path in sorted(sizes, reverse=True)[:SHOWN]:
        print(f"{count:>5}  {path.relative_to(ROOT)}")
    print("\nmost arguments")
    for count, name, path in sorted(functions, reverse=True)[:SHOWN]:
        print(f"{count:>5}  {name}  {path.relative_to(ROOT)}")
    print(f"\nimport cycles: {len(cycles)}")
    for crate, cycle in cycles:
        print(f"{len(cycle):>5}  {crate}: {', '.join('::'.join(m) or 'lib' for m in cycle)}")
    return 1 if cycles and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
