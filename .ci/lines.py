#!/usr/bin/env python3
"""Finds what is too long: files over 500 lines, functions over 100 lines, lines over 100 columns.

usage: .ci/lines.py [FOLDER …], by default src, tests, examples and benches
"""

import re
import sys

from rust_source import blanked, closing, files

FILE_LINES, FUNCTION_LINES, COLUMNS = 500, 100, 100


def too_long(path):
    text = path.read_text()
    lines = text.splitlines()
    if len(lines) > FILE_LINES:
        yield f"{path}: {len(lines)} lines"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            yield f"{path}:{number}: {len(line)} columns"
    code = blanked(text)
    for function in re.finditer(r"\bfn\s+(\w+)", code):
        # A function without a body, as in a trait, ends at a semicolon (outside of `[f64; 3]`).
        rest = re.sub(r"\[[^\[\]]*\]", lambda match: " " * len(match[0]), code[function.end():])
        body = re.search(r"[{;]", rest)
        if body is None or body[0] == ";":
            continue
        first = code.count("\n", 0, function.start()) + 1
        last = code.count("\n", 0, closing(code, function.end() + body.start())) + 1
        if last - first + 1 > FUNCTION_LINES:
            yield f"{path}:{first}: function `{function[1]}` has {last - first + 1} lines"


found = [
    line
    for path in files(*(sys.argv[1:] or ["src", "tests", "examples", "benches"]))
    for line in too_long(path)
]
print(*found, sep="\n", end="\n" if found else "")
sys.exit(bool(found))
