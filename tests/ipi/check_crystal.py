"""Checks a crystal whose energies come from a periodic client: ASE's Lennard-Jones argon.

    python tests/ipi/check_crystal.py target/release/boltzflow

The harmonic crystal of these energies must have the free energy that boltzflow's own pairs give. Needs
ASE (pip install ase).
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.socketio import SocketClient

EDGE, SIGMA, EPSILON, CUTOFF, KELVIN = 10.6, 3.4, 0.0104, 5.2, 5.0

SHARED = f"""
format = 1
name = "argon"
box = [{EDGE}, {EDGE}, {EDGE}]

[[structure]]
lattice = "fcc"
"""

CLIENTS = """
kind = "ipi"
address = "unix:{name}"
species = {species}
length = "1 angstrom"
temperature = "{kelvin} K"
wait_seconds = 60
"""

OWN = """
kind = "lennard_jones"
particles = 32
dimension = 3
epsilon = {epsilon}
r_m = {r_m}
trap = 0.0
cutoff = {cutoff}
"""

RECIPE = """
format = 1
target = "{target}"

[flow.base]
kind = "crystal"

[train]
objective = "reverse_kl"
steps = 1
batch_size = 8

[evaluate]
samples = 100
"""


def serve(name, server):
    """A client for the server, once it listens."""
    while not Path(f"/tmp/ipi_{name}").exists():
        if server.poll() is not None:
            return
    atoms = bulk("Ar", "fcc", a=EDGE / 2, cubic=True).repeat(2)
    atoms.calc = LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF)
    SocketClient(unixsocket=name).run(atoms)


def evaluation(boltzflow, folder, kind, name=None):
    """What a training of one step evaluates to."""
    target, recipe = folder / f"{kind}_target.toml", folder / f"{kind}.toml"
    texts = {
        "clients": CLIENTS.format(name=name, species=["Ar"] * 32, kelvin=KELVIN),
        "own": OWN.format(
            epsilon=EPSILON / (units.kB * KELVIN), r_m=2 ** (1 / 6) * SIGMA, cutoff=CUTOFF
        ),
    }
    head, tail = SHARED.split("\n\n")
    target.write_text(f"{head}\n{texts[kind]}\n{tail}")
    recipe.write_text(RECIPE.format(target=target.name))
    run = folder / kind
    server = subprocess.Popen([boltzflow, "train", recipe, "-o", run], stdout=subprocess.PIPE)
    if name:
        threading.Thread(target=serve, args=(name, server), daemon=True).start()
    said = server.communicate()[0].decode()
    if server.returncode:
        sys.exit(f"{kind}: exit code {server.returncode}, {said}")
    return json.loads((run / "evaluation.json").read_text())


def main():
    with tempfile.TemporaryDirectory() as folder:
        name = f"boltzflow_crystal_{os.getpid()}"
        clients = evaluation(sys.argv[1], Path(folder), "clients", name)
        own = evaluation(sys.argv[1], Path(folder), "own")
    for key in ("log_z", "free_energy_per_particle", "energy_per_particle"):
        print(f"{key}: {clients[key]:.6f} by clients, {own[key]:.6f} by boltzflow's own pairs")
        if abs(clients[key] - own[key]) > 1e-5 * abs(own[key]):
            sys.exit(f"{key} differs")
    if clients["reverse_ess"] < 0.2:
        sys.exit(f"the harmonic crystal is no sampler: {clients['reverse_ess']}")


if __name__ == "__main__":
    main()
