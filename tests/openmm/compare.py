"""Energies and forces of molecules by boltzflow, beside those of OpenMM's Reference platform.

usage: compare.py ENERGIES [--all] [--table FILE]

ENERGIES is the example `energies` (cargo build --release --example energies). Without --all, each
amino acid is looked at once, force field and solvent in rotation, with 10 configurations; with it
the whole matrix with 100 (a quarter of an hour).

Needs `pip install openmm PeptideBuilder biopython numpy`.
"""

import argparse
import concurrent.futures
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import openmm
from openmm import app, unit

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from customs import customs  # noqa: E402
from peptides import (  # noqa: E402
    FORCE_FIELDS, RESIDUES, SOLVENTS, force_field, in_one_residue, make_system, peptide,
)

KT = unit.MOLAR_GAS_CONSTANT_R.value_in_unit(unit.kilojoule_per_mole / unit.kelvin) * 300
# Of a force or an energy: relative to its size, or in kJ/mol and kJ/mol/nm where that is small.
RELATIVE, ABSOLUTE = 1e-8, 1e-6


def configurations(system, positions, count):
    """A minimum, dynamics in vacuum at 300 and 1000 K, and distorted ones, in nm."""
    integrator = openmm.LangevinMiddleIntegrator(300, 5, 0.0005)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, integrator, platform, {"Threads": "1"})
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, 1.0, 200)

    def get():
        positions = context.getState(positions=True).getPositions(asNumpy=True)
        return positions.value_in_unit(unit.nanometer)

    found = [get()]
    for temperature in (300, 1000):
        integrator.setTemperature(temperature)
        context.setVelocitiesToTemperature(temperature, 1)
        for _ in range((count - 1) // 3):
            integrator.step(50)
            found.append(get())
    rng = np.random.default_rng(1)
    while len(found) < count:
        from_one = found[rng.integers(len(found))]
        found.append(from_one + rng.normal(size=from_one.shape) * 0.01 * rng.integers(1, 4))
    return np.array(found)


def reference(system, configurations):
    """Energies in kJ/mol and forces in kJ/mol/nm."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    energies, forces = [], []
    for x in configurations:
        context.setPositions(x)
        state = context.getState(energy=True, forces=True)
        energies.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
        force = state.getForces(asNumpy=True)
        forces.append(force.value_in_unit(unit.kilojoule_per_mole / unit.nanometer))
    return np.array(energies), np.array(forces)


def ours(binary, system, configurations, folder):
    xml = folder / "system.xml"
    xml.write_text(openmm.XmlSerializer.serialize(system))
    target = folder / "target.toml"
    target.write_text(
        'format = 1\nname = "test"\nkind = "openmm"\n'
        'system = "system.xml"\ntemperature = "300 K"\n'
    )
    np.save(folder / "x.npy", configurations * 10)
    done = subprocess.run(
        [binary, target, folder / "x.npy"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout)
    forces = -np.array(found["gradients"]) * KT * 10
    return np.array(found["energies"]) * KT, forces.reshape(configurations.shape)


def worst(got, want):
    """Largest difference in units of what is allowed."""
    return np.max(np.abs(got - want) / np.maximum(RELATIVE * np.abs(want), ABSOLUTE))


def compare(binary, name, system, x):
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        energies, forces = ours(binary, system, x, pathlib.Path(folder))
    want_energies, want_forces = reference(system, x)
    energy, force = worst(energies, want_energies), worst(forces, want_forces)
    assert worst(energies * (1 + 1e-7) + 1e-5, want_energies) > 1, "a planted difference"
    relative = np.max(np.abs(energies - want_energies) / np.abs(want_energies).clip(1))
    return name, x.shape[1], len(x), relative, energy, force


def peptides(everything):
    """Names, sequences and solvents of peptides for each force field."""
    fields = [name for name in FORCE_FIELDS if name != "CHARMM36"]
    found = {}
    for number, (residue, letter) in enumerate(RESIDUES.items()):
        name = f"ACE-{residue}-NME"
        solvents = SOLVENTS if everything else [SOLVENTS[number % len(SOLVENTS)]]
        for field in FORCE_FIELDS if everything else [fields[number % len(fields)]]:
            found.setdefault(field, []).append((name, letter, solvents))
    for length in (3, 5):
        found.setdefault("ff96", []).append((f"ACE-ALA{length}-NME", length * "A", ["obc1"]))
    return found


def compare_peptides(binary, field, wanted, count):
    """Rows of peptides, and what OpenMM cannot make."""
    needed = {"none"}.union(*(solvents for _, _, solvents in wanted))
    force_fields = {solvent: force_field(field, solvent) for solvent in needed}
    is_charmm = field == "CHARMM36"
    # CHARMM's caps are patches of a residue, to which OpenMM adds no hydrogens.
    hydrogens = force_field("ff14SB", "none") if is_charmm else force_fields["none"]
    rows, refused = [], []
    for name, sequence, solvents in wanted:
        topology, positions = peptide(sequence, hydrogens)
        if is_charmm:
            topology = in_one_residue(topology)
        x = configurations(make_system(force_fields["none"], topology), positions, count)
        for solvent in solvents:
            whole = f"{name} {field} {solvent}"
            try:
                system = make_system(force_fields[solvent], topology)
            except Exception as error:  # OpenMM cannot make every combination.
                refused.append((whole, str(error).splitlines()[0]))
                continue
            rows.append(compare(binary, whole, system, x))
    return rows, refused


def compare_files(binary, count):
    """Rows of Systems in files, and of one with each Custom force."""
    rows = []
    for file in sorted((HERE / "systems").glob("*.xml.gz")):
        system = openmm.XmlSerializer.deserialize(gzip.decompress(file.read_bytes()).decode())
        positions = app.PDBFile(str(file).replace(".xml.gz", ".pdb")).positions
        rows.append(compare(binary, file.name, system, configurations(system, positions, count)))
    forcefield = force_field("ff96", "obc1")
    topology, positions = peptide("A", forcefield)
    for name, custom in customs(make_system(forcefield, topology)):
        rows.append(compare(binary, name, custom, configurations(custom, positions, count)))
    return rows, []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--table")
    arguments = parser.parse_args()
    binary, count = arguments.binary, 100 if arguments.all else 10
    print(f"{'System':40} relative  energy    force     (1 is what is allowed)")
    rows, refused = [], []
    with concurrent.futures.ProcessPoolExecutor() as pool:
        parts = [
            pool.submit(compare_peptides, binary, field, wanted, count)
            for field, wanted in peptides(arguments.all).items()
        ]
        parts.append(pool.submit(compare_files, binary, count))
        for part in concurrent.futures.as_completed(parts):
            more, others = part.result()
            rows += more
            refused += others
            for name, _, _, relative, energy, force in more:
                print(f"{name:40} {relative:9.1e} {energy:9.1e} {force:9.1e}", flush=True)
    for name, why in refused:
        print(f"not made by OpenMM: {name}: {why}")
    if arguments.table:
        with open(arguments.table, "w") as file:
            print("| System | atoms | configurations | energies, relative | energies | forces |\n"
                  "|---|---|---|---|---|---|", file=file)
            for name, atoms, number, relative, energy, force in sorted(rows):
                print(f"| {name} | {atoms} | {number} | {relative:.0e} | {energy:.0e} |"
                      f" {force:.0e} |", file=file)
            for name, why in refused:
                print(f"| {name} | | | OpenMM does not make it: {why} | | |", file=file)
    if not all(energy <= 1 and force <= 1 for *_, energy, force in rows):
        raise SystemExit("energies or forces differ from OpenMM's")
    print(f"{len(rows)} Systems agree")


if __name__ == "__main__":
    main()
