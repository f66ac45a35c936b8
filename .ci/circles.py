#!/usr/bin/env python3
"""Finds circles of source files: A uses an item of B, and B, directly or around, one of A; and
uses of a module that stands further down in lib.rs than its user.

A name that a module re-exports counts as an item of the file that defines it, so a folder's `mod.rs`
that only declares and re-exports its children is in no circle with them. A method is an item of the
file that has the `impl`, where that is not the file of the type and no other function has its name.
Test modules do not count.

usage: .ci/circles.py [--names] [FOLDER], by default src; --names says which items make a step
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

from rust_source import blanked, closing, files

ITEM = re.compile(r"\b(?:fn|struct|enum|union|trait|type|const|static|macro_rules!)\s+(\w+)")
PATH = re.compile(r"(?<![\w:.$])((?:\w+\s*::\s*)+)(\w+)")
METHOD = re.compile(r"(?:\.|::)\s*(\w+)\s*(?:::\s*<[^()]*>\s*)?\(")


class Module:
    """A module: its file and path, the code that is directly in it, what it defines and imports."""

    def __init__(self, file, path, code):
        self.file, self.path = file, path
        self.children, self.imports, self.globs = {}, [], []
        code = re.sub(r"\bmod\s+\w+\s*;", "", code)
        code = re.sub(r"\buse\s+([^;]+);", self.read_use(code), code)
        self.code = code
        self.items = set(ITEM.findall(top_level(code)))

    def read_use(self, code):
        def read(match):
            start = code.rfind(";", 0, match.start()) + 1
            before = code[max(start, match.start() - 30):match.start()]
            public = bool(re.search(r"\bpub(\([^)]*\))?\s*$", before))
            for path, name in leaves(match[1]):
                (self.globs if name == "*" else self.imports).append((path, name, public))
            return " " * len(match[0])

        return read


def top_level(code):
    """The code without what is inside of braces."""
    parts, place = [], 0
    while (opening := code.find("{", place)) >= 0:
        parts.append(code[place:opening])
        place = closing(code, opening) + 1
    return ";".join([*parts, code[place:]])


def leaves(tree):
    """The paths of a `use`, each with the name that it brings into scope."""
    tree = tree.strip()
    if tree.endswith("}"):
        head, _, inner = tree[:-1].partition("{")
        depth, part = 0, ""
        for character in inner + ",":
            depth += {"{": 1, "}": -1}.get(character, 0)
            if character != "," or depth:
                part += character
                continue
            if part.strip():
                for path, name in leaves(part):
                    path = [*re.findall(r"\w+", head), *path]
                    if path[-1] == "self":
                        path = path[:-1]
                        name = path[-1] if name == "self" else name
                    yield path, name
            part = ""
        return
    path, _, alias = tree.partition(" as ")
    segments = re.findall(r"\w+|\*", path)
    yield [s for s in segments if s != "*"], alias.strip() or segments[-1]


def without_tests(code):
    """The code without what is compiled for tests only, and the test modules with own files."""
    outside = set()
    pattern = re.compile(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?")
    while match := pattern.search(code):
        end = re.compile(r"[;{]").search(code, match.end())
        if end[0] == ";":
            outside.update(re.findall(r"\bmod\s+(\w+)\s*;", code[match.end():end.end()]))
            last = end.start()
        else:
            last = closing(code, end.start())
        code = code[:match.start()] + " " * (last + 1 - match.start()) + code[last + 1:]
    return code, outside


def read_modules(folder):
    """All modules by path, and the text of every file; modules inside of a file included."""
    modules, tests = {}, set()

    def add(file, path, code):
        code, outside = without_tests(code)
        tests.update((*path, name) for name in outside)
        while match := re.search(r"\bmod\s+(\w+)\s*\{", code):
            last = closing(code, match.end() - 1)
            add(file, (*path, match[1]), code[match.end():last])
            code = code[:match.start()] + " " * (last + 1 - match.start()) + code[last + 1:]
        modules[path] = Module(file, path, code)

    for file in files(folder):
        path = file.relative_to(folder).with_suffix("").parts
        if path == ("main",):
            continue
        path = path[:-1] if path[-1] in ("mod", "lib") else path
        if path in tests or any(path[:n] in tests for n in range(len(path))):
            continue
        add(file, path, blanked(file.read_text()))
    for path in [p for p in modules if any(p[:n] in tests for n in range(1, len(p) + 1))]:
        del modules[path]
    for path, module in modules.items():
        if path:
            modules[path[:-1]].children[path[-1]] = module
    return modules


class Resolver:
    def __init__(self, modules):
        self.modules = modules

    def start(self, module, path):
        """The module that a path starts from, and the rest of the path; None outside of src."""
        here, rest = module.path, list(path)
        if rest[0] in ("crate", "self", "super"):
            first = rest.pop(0)
            here = () if first == "crate" else here[:-1] if first == "super" else here
            while rest and rest[0] == "super":
                rest.pop(0)
                here = here[:-1]
            return self.modules[here], rest
        return module, rest

    def find(self, module, path, seen=()):
        """The module that defines what a path, from a module on, leads to; None if it is not ours."""
        module, rest = self.start(module, path)
        if not rest:
            return module
        name = rest[0]
        key = (module.path, name)
        if key in seen:
            return None
        if name in module.children:
            return self.find(module.children[name], ["self", *rest[1:]], seen)
        if name in module.items:
            return module
        for target, alias, _ in module.imports:
            if alias == name:
                return self.find(module, [*target, *rest[1:]], (*seen, key))
        for target, _, _ in module.globs:
            inside = self.find(module, target, (*seen, key))
            if inside and inside is not module:
                found = self.find(inside, ["self", *rest], (*seen, key))
                if found:
                    return found
        # A variant or an associated item: its owner was found one segment before.
        return None

    def uses(self, module):
        """What a module uses of others: pairs of a module and a name."""
        for target, name, public in module.imports:
            if public and not re.search(rf"\b{name}\b", module.code):
                continue
            yield self.find(module, target), name
        for target, _, public in module.globs:
            if not public:
                yield self.find(module, target), "*"
        for match in PATH.finditer(module.code):
            path = re.findall(r"\w+", match[0])
            while len(path) > 1:
                found = self.find(module, path)
                if found:
                    yield found, path[-1]
                    break
                path.pop()


def methods_elsewhere(modules, resolver):
    """The methods with a name of their own that stand in another file than their type."""
    counts = defaultdict(int)
    for module in modules.values():
        for name in re.findall(r"\bfn\s+(\w+)", module.code):
            counts[name] += 1
    methods = {}
    for module in modules.values():
        pattern = r"\bimpl\b\s*(?:<[^{]*?>\s*)?((?:\w+\s*::\s*)*\w+)\s*(?:<[^{]*?>)?\s*(?:where[^{]*)?\{"
        for match in re.finditer(pattern, module.code):
            owner = resolver.find(module, re.findall(r"\w+", match[1]))
            if owner is None or owner.file == module.file:
                continue
            body = module.code[match.end():closing(module.code, match.end() - 1)]
            for name in re.findall(r"\bfn\s+(\w+)", body):
                if counts[name] == 1:
                    methods[name] = module
    return methods


def graph(folder):
    """For each file the files that it uses, with the names."""
    modules = read_modules(folder)
    resolver = Resolver(modules)
    methods = methods_elsewhere(modules, resolver)
    edges = defaultdict(lambda: defaultdict(set))
    for module in modules.values():
        for owner, name in resolver.uses(module):
            if owner and owner.file != module.file:
                edges[module.file][owner.file].add(name)
        for name in METHOD.findall(module.code):
            owner = methods.get(name)
            if owner and owner.file != module.file:
                edges[module.file][owner.file].add(f"{name}()")
    return edges


def shortest_way(edges, start, end):
    ways, reached = [[start]], {start}
    for way in ways:
        if way[-1] == end:
            return way
        for following in sorted(edges.get(way[-1], ())):
            if following not in reached:
                reached.add(following)
                ways.append([*way, following])
    return None


def circles(edges):
    """For every step from file to file the shortest circle that it is part of, each circle once."""
    found = {}
    for first in sorted(edges):
        for second in sorted(edges[first]):
            way = shortest_way(edges, second, first)
            if way:
                circle = [first, *way[:-1]]
                turn = circle.index(min(circle))
                circle = tuple(circle[turn:] + circle[:turn])
                found.setdefault(frozenset(circle), circle)
    return sorted(found.values(), key=lambda circle: (len(circle), circle))


def against_the_order(edges, folder):
    """The steps to a module that lib.rs declares after that of the user."""
    declared = re.findall(r"^(?:pub )?mod (\w+);", (folder / "lib.rs").read_text(), re.MULTILINE)
    place = {name: number for number, name in enumerate(declared)}
    for user in sorted(edges):
        for used in sorted(edges[user]):
            modules = [Path(file.relative_to(folder).parts[0]).stem for file in (user, used)]
            if place.get(modules[0], len(place)) < place.get(modules[1], len(place)):
                yield user, used


def main():
    names = "--names" in sys.argv
    folder = Path(([a for a in sys.argv[1:] if not a.startswith("-")] or ["src"])[0])
    edges = graph(folder)
    found = circles(edges)
    for circle in found:
        print(" → ".join(str(file.relative_to(folder)) for file in [*circle, circle[0]]))
        for user, used in zip(circle, [*circle[1:], circle[0]]) if names else ():
            items = ", ".join(sorted(edges[user][used]))
            print(f"    {user.relative_to(folder)} uses {items} of {used.relative_to(folder)}")
    against = list(against_the_order(edges, folder))
    for user, used in against:
        items = ", ".join(sorted(edges[user][used]))
        print(f"{user.relative_to(folder)} uses {items} of {used.relative_to(folder)}, further down")
    sys.exit(bool(found or against))


main()
