"""Reads the sample files of one draw by ASE and NumPy, and compares them with each other; then
reads files of other programs by ASE and by boltzflow.

usage: read_back.py BOLTZFLOW RUN FOLDER ELEMENTS [CASES]
ELEMENTS are the chemical symbols that the frames must have, such as X4. CASES has extended XYZ files and
their target.toml.
"""

import csv
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np

program, run, folder, symbols, *cases = sys.argv[1:]
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

# A flow for the particles of the cases, as quickly as possible.
RECIPE = """format = 1
target = "{target}"
[flow]
augmentation_scale = 1.0
[[flow.layers]]
coupling = "pairwise"
repeat = 1
width = 4
basis = 4
[train]
objective = "reverse_kl"
steps = 1
batch_size = 16
[evaluate]
samples = 16
draws = 1
"""


def likelihood(path):
    """The negative log-likelihood of a file, which has other digits for other positions; None where the
    file is refused, which must be by frame."""
    command = [program, "evaluate", str(flow), "--json", "--reference", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return str(json.loads(done.stdout)["nll"])
    assert done.returncode == 2 and "frame" in done.stderr, f"{path}: {done.stderr}"
    return None


def by_ase(path):
    """The positions, without a byte-order mark, which ASE takes for a part of the number of atoms."""
    try:
        text = io.StringIO(path.read_text(encoding="utf-8-sig"))
        return np.array([frame.positions for frame in ase.io.read(text, index=":", format="extxyz")])
    except Exception:
        return None


known = {}


def compare(path):
    """Whether boltzflow reads a file, then as ASE does, and whether ASE reads it."""
    found, positions = likelihood(path), by_ase(path)
    if found is not None and positions is not None:
        key = positions.tobytes()
        if key not in known:
            np.save(arrays := Path(folder) / "positions.npy", positions)
            known[key] = likelihood(arrays)
        assert found == known[key], f"{path} is read otherwise by ASE: {found} and {known[key]}"
    return found is not None, positions is not None


if cases:
    cases = Path(cases[0]).resolve()
    flow, recipe = Path(folder) / "flow", Path(folder) / "flow.toml"
    recipe.write_text(RECIPE.format(target=cases / "target.toml"))
    subprocess.run([program, "train", str(recipe), "-o", str(flow)], check=True, capture_output=True)
    files = sorted(path for path in cases.iterdir() if path.suffix.lower() == ".xyz")
    read = 0
    for path in files:
        here, there = compare(path)
        assert there or not here, f"{path} is refused by ASE alone"
        read += here
    assert len(files) > 40 and read > 25, (len(files), read)
    # The same files with two changes each.
    random.seed(7)
    changed = Path(folder) / "changed.xyz"
    for _ in range(200):
        text = random.choice(files).read_bytes()
        for _ in range(2):
            at, other = (random.randrange(len(text)) for _ in range(2))
            pieces = [*(bytes([c]) for c in b" =\"'{}\\0T\r"), b"", text[other : other + 9]]
            piece = random.choice(pieces)
            text = text[:at] + piece + text[at + random.randrange(3) :]
        changed.write_bytes(text)
        read += compare(changed)[0]
    print(f"of {len(files) + 200} files of other programs {read} are read, as ASE reads them")
