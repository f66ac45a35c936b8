"""A client for argon4.toml: ASE's Lennard-Jones calculator. Any other calculator works the same way."""

import sys

from ase import Atoms, units
from ase.calculators.lj import LennardJones
from ase.calculators.socketio import SocketClient

# Four atoms, in the order of `species`; where they are comes over the socket.
atoms = Atoms("Ar4", positions=[[4 * i, 0, 0] for i in range(4)])
# The pair energy is shifted to zero at rc, so that is far out.
atoms.calc = LennardJones(sigma=3.405, epsilon=119.8 * units.kB, rc=500)
SocketClient(unixsocket=sys.argv[1] if len(sys.argv) > 1 else "argon4").run(atoms)
