"""Figures of docs/crystal.md: g(r) of a flow beside Monte Carlo, and βF/N against 1/N.

usage: crystal_figures.py FLOW.json REFERENCE.json RUN256 RUN500 FOLDER

FLOW.json and REFERENCE.json are what `boltzflow estimate` and `boltzflow reference` print with
`--observable radial_distribution --bins 120 --json`; RUN256 and RUN500 are run folders. Needs NumPy
and Matplotlib.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

# Wirnsberger et al. (2022): multistate Bennett acceptance ratios, and the harmonic crystal.
PUBLISHED = {256: 3.10798, 500: 3.12262}
HARMONIC = {256: 2.98481, 500: 2.99968, 1372: 3.01009}
BLUE, ORANGE, GRAY = "#0072b2", "#d55e00", "#777777"


def profile(file):
    found = json.loads(Path(file).read_text())["profiles"][0]
    return [np.array(found[key]) for key in ("r", "density", "error")]


def draw_pairs(flow, reference, to):
    (r, g, error), (_, known, known_error) = profile(flow), profile(reference)
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(6, 4.4), sharex=True, height_ratios=[2.2, 1], layout="constrained"
    )
    above.plot(r, g, color=BLUE, label="flow, reweighted")
    above.plot(r, known, ".", color=ORANGE, ms=4, label="Monte Carlo")
    above.set_ylabel("g(r)")
    above.legend(frameon=False)
    both = np.hypot(error, known_error)
    seen = both > 0
    off = (g - known)[seen] / both[seen]
    below.plot(r[seen], off, ".", color=GRAY, ms=4)
    below.axhspan(-2, 2, color=BLUE, alpha=0.15, lw=0)
    below.set_ylabel("difference\n/ its error")
    below.set_xlabel("r / σ")
    figure.savefig(to, dpi=110)
    print(f"{to}: {np.mean(np.abs(off) < 2):.0%} of {len(off)} bins within two errors")


def draw_free_energies(runs, to):
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for n, run in runs.items():
        found = json.loads((Path(run) / "evaluation.json").read_text())
        value, error = (found[f"free_energy_per_particle{end}"] for end in ("", "_error"))
        label = "flows" if n == 256 else None
        axes.errorbar(1 / n, value, error, fmt="o", color=BLUE, capsize=3, ms=5, label=label)
        print(f"N = {n}: {value:.5f} ± {error:.5f}, published {PUBLISHED[n]}")
    x = np.array([1 / n for n in PUBLISHED])
    axes.plot(x, list(PUBLISHED.values()), "x", color=ORANGE, ms=9, label="published, MBAR")
    x = np.array([1 / n for n in HARMONIC])
    axes.plot(x, list(HARMONIC.values()), "s--", color=GRAY, ms=4, label="harmonic crystal")
    axes.set_xlim(left=0)
    axes.set_xlabel("1/N")
    axes.set_ylabel("βF/N")
    axes.legend(frameon=False)
    figure.savefig(to, dpi=110)


def main(flow, reference, small, large, folder):
    folder = Path(folder)
    draw_pairs(flow, reference, folder / "radial_distribution.png")
    draw_free_energies({256: small, 500: large}, folder / "free_energy.png")


main(*sys.argv[1:])
