"""Checks a molecule whose calculator raises errors, through examples/ipi/molecule_client.py.

    python tests/ipi/check_molecule.py target/release/boltzflow

The client must live to the end, and the check must say that the molecule falls apart without a trap,
and that it is ready with one. Needs ASE (pip install ase); run it from the root of the repository.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ase.build import molecule
from ase.io import write

TARGET = """
format = 1
name = "methanol"
kind = "ipi"
address = "unix:{name}"
species = {species}
length = "1 angstrom"
temperature = "300 K"
trap = {trap}
wait_seconds = 60

[[structure]]
file = "methanol.xyz"
"""


def check(boltzflow, folder, trap):
    """What `boltzflow check` says, its exit code, and that of the client."""
    name = f"boltzflow_molecule_{os.getpid()}"
    atoms = molecule("CH3OH")
    write(folder / "methanol.xyz", atoms)
    species = [f"{symbol}{i}" for i, symbol in enumerate(atoms.get_chemical_symbols())]
    target = folder / "methanol.toml"
    target.write_text(TARGET.format(name=name, species=species, trap=trap))
    server = subprocess.Popen([boltzflow, "check", target], stdout=subprocess.PIPE, text=True)
    while not Path(f"/tmp/ipi_{name}").exists():
        if server.poll() is not None:
            sys.exit("boltzflow ended before it listened")
        time.sleep(0.05)
    client = subprocess.Popen(
        [sys.executable, "examples/ipi/molecule_client.py", name, folder / "methanol.xyz"]
        + ["failing:Failing", "shortest=0.6"],
        env={**os.environ, "PYTHONPATH": "tests/ipi"},
        stderr=subprocess.PIPE,
        text=True,
    )
    failures = client.communicate()[1]
    said = server.communicate()[0]
    print(said, end="")
    if "no finite energy: SCF not converged" not in failures:
        sys.exit(f"the calculator did not fail: {failures}")
    return said, server.returncode, client.returncode


def main():
    with tempfile.TemporaryDirectory() as folder:
        for trap, code, verdict in [(0.0, 1, "infinity     WRONG"), (1.0, 0, "ready for training")]:
            said, server, client = check(sys.argv[1], Path(folder), trap)
            if (server, client) != (code, 0) or verdict not in said:
                sys.exit(f"with trap = {trap}: exit codes {server} and {client}, {said}")


if __name__ == "__main__":
    main()
