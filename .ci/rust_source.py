"""Rust source files as the checks beside this file read them."""

import re
from pathlib import Path

# What is not code: comments, strings (raw ones too) and characters, but not lifetimes.
NOT_CODE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | \bb?r(\#*)".*?"\1 | "(?:\\.|[^"\\])*"
      | '(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'\n])'""",
    re.VERBOSE | re.DOTALL,
)


def files(*folders):
    """All Rust files below the folders, in order."""
    return sorted(path for folder in folders for path in Path(folder).rglob("*.rs"))


def blanked(text):
    """The text with comments, strings and characters overwritten by blanks, in the same places."""
    return NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def closing(code, opening):
    """The place of the brace that closes the one at `opening`."""
    depth = 0
    for place in range(opening, len(code)):
        depth += {"{": 1, "}": -1}.get(code[place], 0)
        if depth == 0:
            return place
    raise ValueError("a brace is never closed")
