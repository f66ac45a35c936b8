"""Importing takes at most 0.2 s beyond importing NumPy, and imports nothing optional."""

import subprocess
import sys
import time

OPTIONAL = ("ase", "arviz", "jax", "matplotlib", "pandas", "torch", "tqdm")


def seconds(code):
    """Of user and system time, which other programs do not change much; the least of some."""
    script = f"{code}\nimport resource, sys\nu = resource.getrusage(resource.RUSAGE_SELF)\n" \
             "print(u.ru_utime + u.ru_stime)"
    runs = (subprocess.check_output([sys.executable, "-c", script]) for _ in range(7))
    return min(float(run) for run in runs)


def main():
    start = time.perf_counter()
    beyond = seconds("import numpy, boltzflow") - seconds("import numpy")
    print(f"import: {beyond:.3f} s beyond NumPy's ({time.perf_counter() - start:.1f} s to measure)")
    assert beyond <= 0.2, beyond
    loaded = f"import boltzflow, sys; print([n for n in {OPTIONAL!r} if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", loaded]).strip() == b"[]"


main()
