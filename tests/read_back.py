"""Reads the sample files of one draw by ASE and NumPy, and compares them with each other.

usage: read_back.py BOLTZFLOW RUN FOLDER ELEMENTS
ELEMENTS are the chemical symbols that the frames must have, such as X4.
"""

import csv
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np

program, run, folder, symbols = sys.argv[1:]
count = 500


def draw(name, *more):
    path = Path(folder) / name
    command = [program, "sample", run, "-n", str(count), "-o", str(path), *more]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


arrays = np.load(draw("samples.npz"))
x, log_weights, energies = (arrays[name] for name in ("positions", "log_weights", "energies"))
assert len(x) == len(log_weights) == len(energies) == count
n, d = x.shape[1:]

for name in ("samples.xyz", "samples.extxyz"):
    frames = ase.io.read(draw(name), index=":", format="extxyz")
    assert len(frames) == count
    for i, frame in enumerate(frames):
        assert str(frame.symbols) == symbols, frame.symbols
        assert not frame.pbc.any()
        assert np.abs(frame.positions[:, :d] - x[i]).max() < 1e-12
        assert d == 3 or not frame.positions[:, 2].any()
        assert frame.get_potential_energy() == energies[i]
        assert frame.info["log_weight"] == log_weights[i]

with open(draw("samples.csv"), newline="") as file:
    rows = list(csv.DictReader(file))
assert len(rows) == count
assert [float(row["energy"]) for row in rows] == list(energies)
assert [float(row["log_weight"]) for row in rows] == list(log_weights)
first = [float(value) for value in list(rows[0].values())[: n * d]]
assert np.array_equal(np.reshape(first, (n, d)), x[0])
assert np.array_equal(np.load(draw("samples.npy")), x)

# Equally weighted ones have the reweighted mean energy, far from that of the flow if that is far.
weights = np.exp(log_weights - log_weights.max())
weights /= weights.sum()
equal = np.load(draw("equal.npz", "--resample", "2000"))
assert sorted(equal) == ["energies", "positions"] and len(equal["energies"]) == 2000
# Every count is within one of its expectation: a mean over 2000 places is as near as this.
bound = np.abs(energies[weights > 0] - energies[weights > 0].mean()).sum() / 2000
assert abs(equal["energies"].mean() - weights @ np.where(weights > 0, energies, 0)) < bound
assert set(map(bytes, equal["positions"])) <= set(map(bytes, x))
print(f"ASE {ase.__version__} and NumPy {np.__version__} read {count} samples of {run} as they are")
