"""Ethanol by GFN2-xTB: frames of molecular dynamics for boltzflow to learn from.

    python md.py FRAMES.xyz STEPS [KELVIN]

Writes the relaxed molecule to ethanol.xyz and every tenth step to FRAMES.xyz. A step is 1 fs and
one call of xTB.
"""

import sys

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS
from tblite.ase import TBLite

frames, steps = sys.argv[1], int(sys.argv[2])
kelvin = float(sys.argv[3]) if len(sys.argv) > 3 else 300

atoms = molecule("CH3CH2OH")
atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
BFGS(atoms, logfile=None).run(fmax=0.01)
write("ethanol.xyz", atoms, plain=True)

# Averages over positions do not depend on masses, and heavy hydrogens allow a longer step.
atoms.set_masses([max(mass, 3) for mass in atoms.get_masses()])
random = np.random.default_rng(0)
thermalize_momenta(atoms, temperature_K=kelvin, rng=random)
dynamics = Langevin(
    atoms, 1 * units.fs, temperature_K=kelvin, friction=0.01 / units.fs, fixcm=False, rng=random
)
kept = []


def keep():
    frame = Atoms(atoms.symbols, atoms.positions)
    frame.calc = SinglePointCalculator(frame, energy=atoms.get_potential_energy())
    kept.append(frame)


dynamics.attach(keep, interval=10)
dynamics.run(steps)
write(frames, kept[1:])
