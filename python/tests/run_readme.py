"""Runs the examples of the package's README, in a folder of their own: run_readme.py [first].

With `first` only the first one, which needs nothing but NumPy.
"""

import os
import pathlib
import re
import sys
import tempfile
import time

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


def main():
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
    assert len(blocks) == 4, f"{len(blocks)} examples"
    assert len(blocks[0].splitlines()) == 5, "the first example has five lines"
    names = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for block in blocks[:1] if sys.argv[1:] == ["first"] else blocks:
            start = time.perf_counter()
            exec(compile(block, str(README), "exec"), names)
            print(f"-- {time.perf_counter() - start:.1f} s")
        os.chdir("/")


main()
