"""Averages over the frames of md.py, with errors from ten blocks: python averages.py FRAMES.xyz"""

import sys

import numpy as np
from ase import units
from ase.io import read

frames = read(sys.argv[1], ":")
dihedral = np.array([frame.get_dihedral(0, 1, 2, 3) for frame in frames])
trans = abs(dihedral - 180) < 60
for name, values in {
    "U / kT at 300 K": [frame.get_potential_energy() / (300 * units.kB) for frame in frames],
    "distance C1 to O / A": [frame.get_distance(0, 2) for frame in frames],
    "share of trans": trans,
}.items():
    blocks = [np.mean(block) for block in np.array_split(values, 10)]
    print(f"{name:26}{np.mean(values):.4f} +- {np.std(blocks, ddof=1) / 10**0.5:.4f}")
print("changes between trans and gauche:", np.count_nonzero(trans[1:] != trans[:-1]))
