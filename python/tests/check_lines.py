"""Lines of at most 100 columns and files of at most 500 lines, as everywhere in the repository."""

import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parents[1]


def main():
    found = []
    for folder in ("python", "tests", "examples"):
        for path in sorted((FOLDER / folder).rglob("*.py*")):
            if path.suffix not in (".py", ".pyi"):
                continue
            lines = path.read_text(encoding="utf-8").splitlines()
            if len(lines) > 500:
                found.append(f"{path}: {len(lines)} lines")
            long = [number for number, line in enumerate(lines, 1) if len(line) > 100]
            found += [f"{path}:{number}: over 100 columns" for number in long]
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))


main()
