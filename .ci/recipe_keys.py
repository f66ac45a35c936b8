#!/usr/bin/env python3
"""Writes docs/recipe.md, the page of all keys of a recipe, from the documentation of their types.

usage: .ci/recipe_keys.py [--check]    with --check: only compare, and fail if the page is not so
"""

import re
import sys
from pathlib import Path

from rust_source import blanked, closing

PAGE = Path("docs/recipe.md")
# The files of options, by which the types are known.
FILES = ["src/config/recipe.rs", "src/flow/layers.rs", "src/flow/options.rs"]
FILES += sorted(map(str, Path("src/flow").glob("*/options.rs")))
FILES += sorted(map(str, Path("src/train").glob("*.rs")))
SOURCE = "\n".join(Path(file).read_text() for file in FILES)

HEAD = """# Keys of a recipe

A recipe is a [TOML](https://toml.io) file with `format = 1` at its top and a `target`; each other
key has a default. `boltzflow train TARGET --minutes 10` chooses one for a target, writes it with its
reasons, and trains by it; `boltzflow new NAME --target TARGET` only writes it. [runs](../runs/README.md)
has those of the published results, `boltzflow train RECIPE --dry-run` prints one with all of its keys,
and `--set train.steps=100` changes a key for once. A word that is no key is an error, and a value out
of its limits gets a message that says them.

Lengths are in the target's units, energies in kT. This page is made from the documentation of the
types that read recipes, by `python3 .ci/recipe_keys.py`.
"""


def text_of(lines):
    """Documentation as one paragraph of Markdown: what comes first, without links into the code."""
    first = "\n".join(lines).split("\n\n")[0].replace("\n", " ")
    return re.sub(r"\[([^\]]+)\]\((?!http)[^)]*\)", r"\1", first)


def items(kind, name):
    """Documentation of a struct or an enum, and (name, type, documentation) of what it has."""
    head = re.search(rf"((?: *///.*\n)+)(?:#\[.*\]\n)*pub {kind} {name} {{\n", SOURCE)
    if not head:
        return None
    rest = SOURCE[head.end() - 2 :]
    body = rest[1 : closing(blanked(rest), 0)]
    found, lines, new_name = [], [], None
    for line in map(str.strip, body.split("\n")):
        if line.startswith("///"):
            lines.append(line[4:])
        elif rename := re.search(r'serde\(rename = "(\w+)"', line):
            new_name = rename[1]
        elif item := re.match(r"(?:pub )?(\w+)(?:: (.+))?,$", line):
            found.append((new_name or item[1], item[2], lines))
            lines, new_name = [], None
    return [line.strip()[4:] for line in head[1].strip().split("\n")], found


def declared(pattern):
    """(documentation, name, type of the options) of each line of a table of a macro."""
    lines = re.findall(rf'((?: +///.*\n)+) +"(\w+)"{pattern}\((\w+)\)', SOURCE)
    return [(text_of(re.findall(r"/// ?(.*)", doc)), *rest) for doc, *rest in lines]


def default_of(text):
    """A documentation without its default, and the default as a cell of the table."""
    found = re.search(r"\s*\(default:?\s+([^()]+(?:\([^()]*\))?[^()]*)\)", text)
    if not found:
        return text, "needed"
    text = text[: found.start()] + text[found.end() :]
    value, colon, rest = re.sub(r"(?<=\d) (?=\d{3})", "", found[1]).partition(": ")
    is_value = re.fullmatch(r'`?(-?[\d.]+(e-?\d+)?|".*"|\[.*\])`?', value)
    return text, (f"`{value.strip('`')}`" if is_value else value) + colon + rest


def choices(values):
    return " ".join(f'`"{name}"`: {text}' for name, text in values)


def row(key, text):
    text, default = default_of(text)
    return "| `{}` | {} | {} |".format(key, *(cell.replace("|", "\\|") for cell in (default, text)))


def table(fields):
    """Rows of fields without a section of their own, and those with one."""
    rows, sections = ["| key | default | meaning |", "|---|---|---|"], []
    for key, kind, lines in fields:
        kind = re.sub(r"Option<(.*)>|Vec<(LayerGroup)>", r"\1\2", kind)
        text = text_of(lines)
        if kind == "LayerGroup" or items("struct", kind):
            sections.append((key, kind, text))
            continue
        if values := items("enum", kind):
            snake = lambda name: re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
            text += " " + choices((snake(name), sentence(lines)) for name, _, lines in values[1])
        rows.append(row(key, text))
    return rows if len(rows) > 2 else [], sections


def sentence(lines):
    return re.split(r"(?<=\.) ", text_of(lines))[0]


def section(path, kind):
    """The lines of the section `path`, whose options are of `kind`, and of those in it."""
    about, fields = items("struct", kind)
    rows, inner = table(fields)
    page = [f"## `[{path}]`", "", text_of(about).replace(f": `[{path}]`", ""), "", *rows]
    for key, kind, text in inner:
        is_list = kind == "LayerGroup"
        page += ["", *(layers(text) if is_list else section(f"{path}.{key}", kind))]
    return page


def layers(text):
    text, default = default_of(text)
    couplings = declared(": \\w+")
    text += f" The default is {default}. In each group `coupling` names the kind:"
    page = ["## `[[flow.layers]]`", "", text, ""]
    page += [f'- `"{name}"`: {doc}' for doc, name, _ in couplings]
    for kind in dict.fromkeys(kind for *_, kind in couplings):
        names = ", ".join(f'`"{name}"`' for _, name, of in couplings if of == kind)
        about, fields = items("struct", kind)
        page += ["", f"### Coupling {names}", "", re.sub(":$", ".", text_of(about)), ""]
        page += table(fields)[0]
    return page


def training():
    about, fields = items("struct", "TrainOptions")
    (objective,) = [lines for key, _, lines in fields if key == "objective"]
    objectives = declared(" => \\w+")
    rows, inner = table(items("struct", "DescentOptions")[1])
    text = text_of(objective) + " " + choices((name, doc) for doc, name, _ in objectives)
    page = ["## `[train]`", "", text_of(about).replace(": `[train]`", ""), ""]
    page += [*rows[:2], row("objective", text), *rows[2:]]
    for path, kind in [(key, kind) for key, kind, _ in inner] + [o[1:] for o in objectives]:
        page += ["", *section(f"train.{path}", kind)]
    return page


def page():
    rows, sections = table(items("struct", "Recipe")[1])
    lines = [HEAD, "## At the top", "", *rows]
    for key, kind, _ in sections:
        lines += ["", *(training() if kind == "TrainOptions" else section(key, kind))]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


if "--check" not in sys.argv[1:]:
    PAGE.write_text(page())
elif PAGE.read_text() != page():
    sys.exit(f"{PAGE} is not what the types say: run python3 .ci/recipe_keys.py")
