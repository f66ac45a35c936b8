"""Reads PDB and DCD of a molecule's samples by MDTraj and MDAnalysis, and compares them with NumPy's.

usage: read_molecule.py BOLTZFLOW TARGET STRUCTURE FOLDER
TARGET is the target file whose `structure` is the PDB file STRUCTURE. Both must agree on names, residues, bonds,
positions and dihedral angles; planted errors must show.
"""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
from MDAnalysis.lib.distances import calc_dihedrals

program, target, structure, folder = sys.argv[1:]
folder, count = Path(folder), 200
RECIPE = """format = 1
target = "{target}"
[flow]
augmentation_scale = 0.3
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
recipe, run, copies = folder / "molecule.toml", folder / "molecule", folder / "copies"
copies.mkdir()
for path in (target, structure):
    shutil.copy(path, copies)
recipe.write_text(RECIPE.format(target=(copies / Path(target).name).resolve()))
subprocess.run([program, "train", str(recipe), "-o", str(run)], check=True, capture_output=True)
# A run has all that it needs.
shutil.rmtree(copies)


def draw(name, *more):
    command = [program, "sample", str(run), "-n", str(count), "-o", str(folder / name), *more]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return folder / name, said


arrays = np.load(draw("samples.npz")[0])
x = arrays["positions"]
(pdb, said), (dcd, _) = draw("samples.pdb"), draw("samples.dcd")
assert "handedness at ALA2:CA" in said, said
known = mdtraj.load(structure)
names = [str(atom) for atom in known.topology.atoms]
for path in (pdb, dcd):
    frames = mdtraj.load(str(path)) if path == pdb else mdtraj.load_dcd(str(path), top=structure)
    assert [str(atom) for atom in frames.topology.atoms] == names
    limit = 6e-4 if path == pdb else 1e-5
    assert len(frames) == count and np.abs(10 * frames.xyz - x).max() < limit
    # Planted: nm for angstrom would be far off.
    assert np.abs(frames.xyz - x).max() > 100 * limit
    universe = MDAnalysis.Universe(str(pdb if path == pdb else structure), str(path))
    read = np.array([step.positions.copy() for step in universe.trajectory])
    assert read.shape == x.shape and np.abs(read - x).max() < limit
    with open(f"{path}.weights.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["log_weight"]) for row in rows] == list(arrays["log_weights"])
    assert [float(row["energy"]) for row in rows] == list(arrays["energies"])

# CONECT records are the bonds of the target.
bonds = sorted(sorted((int(a.index), int(b.index))) for a, b in mdtraj.load(str(pdb)).topology.bonds)
expected = [[0, 1], [1, 2], [1, 3], [3, 4], [4, 5], [4, 6], [4, 7], [7, 8], [7, 9], [9, 10]]
assert bonds == expected, bonds

# Dihedral angles: MDTraj's, MDAnalysis's and the estimate's circular mean with the same weights.
phi = mdtraj.compute_dihedrals(mdtraj.load_dcd(str(dcd), top=structure), [[1, 3, 4, 7]])[:, 0]
other = calc_dihedrals(*(x[:, atom].astype(np.float32) for atom in (1, 3, 4, 7)))
assert np.abs(np.angle(np.exp(1j * (phi - other)))).max() < 1e-2
weights = np.exp(arrays["log_weights"] - arrays["log_weights"].max())
mean = np.degrees(np.angle((weights * np.exp(1j * phi)).sum()))
command = [program, "estimate", str(run), "-n", str(count), "--observable", "phi", "--json"]
found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
estimate = found["averages"][0]["mean"]
assert abs((estimate - mean + 180) % 360 - 180) < 0.5, (estimate, mean)
assert abs((estimate + mean + 180) % 360 - 180) > 1, "the sign of phi cannot be seen here"

# All samples have the structure's handedness; as drawn, about half of them.
volume = lambda x: np.linalg.det(np.stack([x[:, atom] - x[:, 7] for atom in (3, 5, 6)], axis=1))
sign = np.sign(volume(10 * known.xyz)[0])
assert (np.sign(volume(x)) == sign).all()
drawn = np.load(draw("any.npz", "--chirality", "any")[0])["positions"]
share = (np.sign(volume(drawn)) == sign).mean()
assert 0.3 < share < 0.7, share
assert np.array_equal(np.abs(drawn), np.abs(x))

# What is written is read: the same likelihood by either file, and others by damaged ones.
def likelihood(path):
    command = [program, "evaluate", str(run), "--json", "--reference", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    return json.loads(done.stdout)["nll"] if done.returncode == 0 else done.stderr


equal = [draw(f"equal.{end}", "--resample", "50")[0] for end in ("npz", "pdb", "dcd")]
values = [likelihood(path) for path in equal]
assert abs(values[0] - values[2]) < 1e-3 * abs(values[0]) and abs(values[0] - values[1]) < 0.05 * abs(values[0]), values
text = equal[1].read_text()
equal[1].write_text(text.replace(" N   ALA", " O   ALA").replace("           N  ", "           O  "))
assert "structure has ALA2:N" in likelihood(equal[1])
print(f"MDTraj {mdtraj.__version__} and MDAnalysis {MDAnalysis.__version__} read {count} samples as they are")
