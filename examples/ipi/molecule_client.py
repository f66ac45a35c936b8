"""A client for a molecule: any calculator of ASE, also one that gives up on some configurations.

    python molecule_client.py SOCKET STRUCTURE MODULE:CALCULATOR [KEY=VALUE ...]
    python molecule_client.py ethanol ethanol.xyz tblite.ase:TBLite method=GFN2-xTB verbosity=0

SOCKET is NAME for `address = "unix:NAME"`, or HOST:PORT. STRUCTURE has the atoms in the order of
`species`. Where the calculator raises an error ("SCF not converged"), boltzflow is told that this
configuration has no finite energy, and the client goes on.
"""

import ast
import importlib
import sys

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.socketio import SocketClient
from ase.io import read


class Forgiving(Calculator):
    """Another calculator, but where that one raises an error, energy and forces are no numbers."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms.copy()
        atoms.calc = self.inner
        try:
            self.results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        except Exception as error:
            print(f"no finite energy: {error or type(error).__name__}", file=sys.stderr)
            # What a failed calculation leaves behind must not be where the next one starts.
            if hasattr(self.inner, "reset"):
                self.inner.reset()
            self.results = {"energy": np.nan, "forces": np.full((len(atoms), 3), np.nan)}


def value(text):
    """A number, a list or a truth value of Python, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def main(socket, structure, calculator, *options):
    module, name = calculator.split(":")
    keys = dict(option.split("=", 1) for option in options)
    keys = {key: value(text) for key, text in keys.items()}
    calculator = getattr(importlib.import_module(module), name)(**keys)
    atoms = read(structure)
    atoms.pbc = False
    # A calculator that is not set up ends the client here and not on every configuration.
    atoms.calc = calculator
    atoms.get_forces()
    atoms.calc = Forgiving(calculator)
    host, _, port = socket.rpartition(":")
    place = {"host": host, "port": int(port)} if host else {"unixsocket": socket}
    SocketClient(**place).run(atoms)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
