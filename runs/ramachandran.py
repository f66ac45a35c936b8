"""KLD of Ramachandran densities: a flow's samples, reweighted, beside reference samples.

usage: ramachandran.py FLOW.npz REFERENCE.npz [REFERENCE2.npz]

φ and ψ of alanine dipeptide in 64 x 64 bins. KLD = Σ p ln(p/q), p from the reference and q from the
flow, over bins in which p > 0; a bin that q leaves empty counts as holding 1e-10 of its weight, as in
Midgley et al. (2023). Its floor is that of reference samples of the same effective size: drawn from
the first reference, with the rest of it, or the second one, as p.
"""

import sys

import numpy as np

# ACE:C ALA:N ALA:CA ALA:C and ALA:N ALA:CA ALA:C NME:N of targets/aldp.pdb.
PHI, PSI = (4, 6, 8, 14), (6, 8, 14, 16)
BINS = 64
LEAST = 1e-10


def dihedral(x, atoms):
    a, b, c, d = (x[:, atom] for atom in atoms)
    axis = c - b
    axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    across = lambda v: v - (v * axis).sum(1, keepdims=True) * axis
    v, w = across(a - b), across(d - c)
    return np.arctan2((np.cross(axis, v) * w).sum(1), (v * w).sum(1))


def density(x, weights):
    angles = dihedral(x, PHI), dihedral(x, PSI)
    limits = [[-np.pi, np.pi]] * 2
    count = np.histogram2d(*angles, bins=BINS, range=limits, weights=weights)[0]
    return count / count.sum()


def kld(p, q):
    q = np.maximum(q, LEAST)
    filled = p > 0
    return float((p[filled] * np.log(p[filled] / q[filled])).sum())


def read(file):
    data = np.load(file)
    x = data["positions"]
    log_w = data["log_weights"] if "log_weights" in data else np.zeros(len(x))
    w = np.exp(log_w - log_w.max())
    return x, w / w.sum()


flow_x, flow_w = read(sys.argv[1])
x, w = read(sys.argv[2])
size = int(1 / (flow_w**2).sum())
p = density(x, w)
print(f"flow: {len(flow_x)} samples, effective size {size}; reference: {len(x)}")
print(f"KLD of the flow as drawn   {kld(p, density(flow_x, np.ones(len(flow_x)))):.5f}")
print(f"KLD of the flow reweighted {kld(p, density(flow_x, flow_w)):.5f}")
other = read(sys.argv[3])[0] if len(sys.argv) > 3 else x
size = min(size, len(other) if len(sys.argv) > 3 else len(other) // 2)
floors = []
for seed in range(8):
    order = np.random.default_rng(seed).permutation(len(other))
    part, rest = other[order[:size]], other[order[size:]]
    against = p if len(sys.argv) > 3 else density(rest, np.ones(len(rest)))
    floors.append(kld(against, density(part, np.ones(len(part)))))
print(f"floor, {size} reference samples {np.mean(floors):.5f} ± {np.std(floors):.5f}")
