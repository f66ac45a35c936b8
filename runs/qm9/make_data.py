#!/usr/bin/env python3
"""Writes QM9-positional: the molecules of QM9 with 19 atoms, hydrogens included, as positions alone.

usage: make_data.py [FILE.npz], by default qm9_positional.npz beside this script

Needs NumPy and the package qm9pack 1.0.3 (`pip install qm9pack==1.0.3 --no-deps`), which has the
130 831 molecules of Ramakrishnan et al., Sci. Data 1, 140022 (2014) that pass the data's own check
of consistency. The split is that of E(n) normalizing flows (Satorras et al., arXiv:2105.09016): a
permutation by RandomState(0), of which the first 100 000 molecules are for training, the next 17 748
for validation, and 13 083 for the test; 13 832, 2501 and 1813 of them have 19 atoms.

Arrays of the file: train, valid and test, [molecules, 19, 3] in Å around the centre of mass of equal
atoms, float32; and train_ids, valid_ids and test_ids, their numbers in QM9. The positions are also
written to qm9_train.npy, qm9_valid.npy and qm9_test.npy beside it, which qm9_ml.toml names.
"""

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np

ATOMS = 19
ENDS = {"train": (0, 100_000), "valid": (100_000, 117_748), "test": (117_748, 130_831)}


def molecules(folder):
    """Number of atoms, QM9's number and the text of the positions of each, in the data's order."""
    csv.field_size_limit(1 << 24)
    for part in (1, 2, 3):
        with open(folder / f"qm9_part{part}.csv", newline="") as file:
            for row in csv.DictReader(file):
                yield int(float(row["N_atoms"])), int(float(row["Index"])), row["XYZ_Ang"]


def main():
    place = importlib.util.find_spec("qm9pack")
    if place is None:
        sys.exit("install qm9pack: pip install qm9pack==1.0.3 --no-deps")
    found = list(molecules(Path(place.origin).parent / "data"))
    order = np.random.RandomState(0).permutation(len(found))
    arrays = {}
    for name, (start, end) in ENDS.items():
        chosen = [found[i] for i in order[start:end] if found[i][0] == ATOMS]
        texts = (text.replace("[", " ").replace("]", " ").replace("'", " ") for _, _, text in chosen)
        x = np.array([[float(v) for v in text.split(",")] for text in texts]).reshape(-1, ATOMS, 3)
        arrays[name] = (x - x.mean(axis=1, keepdims=True)).astype(np.float32)
        arrays[f"{name}_ids"] = np.array([number for _, number, _ in chosen], dtype=np.int32)
        print(f"{name}: {len(x)} molecules")
    file = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("qm9_positional.npz"))
    np.savez_compressed(file, **arrays)
    for name in ENDS:
        np.save(file.with_name(f"qm9_{name}.npy"), arrays[name].astype(float))


main()
