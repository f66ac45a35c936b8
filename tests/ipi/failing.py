"""A calculator of ASE that raises an error for many configurations, as quantum chemistry does."""

import numpy as np
from ase.calculators.calculator import SCFError, all_changes
from ase.calculators.emt import EMT


class Failing(EMT):
    """Effective medium theory, which fails where two atoms are nearer than `shortest` (Å)."""

    def __init__(self, shortest=0.6, **keys):
        super().__init__(**keys)
        self.shortest = shortest

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        distances = atoms.get_all_distances()
        if distances[np.triu_indices(len(atoms), 1)].min() < self.shortest:
            raise SCFError("SCF not converged")
        super().calculate(atoms, properties, system_changes)
