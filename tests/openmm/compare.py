"""Energies and forces of molecules by boltzflow, beside those of OpenMM's Reference platform.

usage: compare.py ENERGIES [--all] [--table FILE]

ENERGIES is the example `energies` (cargo build --release --example energies). Without --all, each
amino acid is looked at once, force field and solvent in rotation, with 10 configurations; with it
the whole matrix with 100 (about three quarters of an hour).

Needs `pip install openmm PeptideBuilder biopython numpy`.
"""

import argparse
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


def compare(binary, name, system, positions, count, rows):
    x = configurations(system, positions, count)
    with tempfile.TemporaryDirectory() as folder:
        energies, forces = ours(binary, system, x, pathlib.Path(folder))
    want_energies, want_forces = reference(system, x)
    energy, force = worst(energies, want_energies), worst(forces, want_forces)
    assert worst(energies * (1 + 1e-7) + 1e-5, want_energies) > 1, "a planted difference"
    relative = np.max(np.abs(energies - want_energies) / np.abs(want_energies).clip(1))
    rows.append((name, len(positions), count, relative, energy, force))
    print(f"{name:40} {relative:9.1e} {energy:9.1e} {force:9.1e}", flush=True)
    return energy <= 1 and force <= 1


def pairs(everything):
    """Residue, force field and solvent of each System that OpenMM makes."""
    fields = [name for name in FORCE_FIELDS if name != "CHARMM36"]
    for number, residue in enumerate(RESIDUES):
        if everything:
            for field in FORCE_FIELDS:
                for solvent in SOLVENTS:
                    yield residue, field, solvent
        else:
            yield residue, fields[number % len(fields)], SOLVENTS[number % len(SOLVENTS)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--table")
    arguments = parser.parse_args()
    count = 100 if arguments.all else 10
    rows, good, known, refused = [], True, {}, []
    # Places hydrogens where the caps are patches of a residue.
    hydrogens = force_field("ff14SB", "none")
    print(f"{'System':40} relative  energy    force     (1 is what is allowed)")

    def peptide_system(sequence, field, solvent):
        if (field, solvent) not in known:
            known.clear()
            known[field, solvent] = force_field(field, solvent)
        forcefield = known[field, solvent]
        is_charmm = field == "CHARMM36"
        topology, positions = peptide(sequence, hydrogens if is_charmm else forcefield)
        if is_charmm:
            topology = in_one_residue(topology)
        return make_system(forcefield, topology), positions

    systems = [(RESIDUES[r], f"ACE-{r}-NME", f, s) for r, f, s in pairs(arguments.all)]
    systems += [("AAA", "ACE-ALA3-NME", "ff96", "obc1"), ("AAAAA", "ACE-ALA5-NME", "ff96", "obc1")]
    systems.sort(key=lambda entry: (entry[2], entry[3]))
    for sequence, name, field, solvent in systems:
        try:
            system, positions = peptide_system(sequence, field, solvent)
        except Exception as error:  # OpenMM cannot make every combination.
            refused.append((f"{name} {field} {solvent}", str(error).splitlines()[0]))
            continue
        good &= compare(
            arguments.binary, f"{name} {field} {solvent}", system, positions, count, rows
        )
    for file in sorted((HERE / "systems").glob("*.xml.gz")):
        system = openmm.XmlSerializer.deserialize(gzip.decompress(file.read_bytes()).decode())
        positions = app.PDBFile(str(file).replace(".xml.gz", ".pdb")).positions
        good &= compare(arguments.binary, file.name, system, positions, count, rows)
    system, positions = peptide_system("A", "ff96", "obc1")
    for name, custom in customs(system):
        good &= compare(arguments.binary, name, custom, positions, count, rows)
    for name, why in refused:
        print(f"not made by OpenMM: {name}: {why}")
    if arguments.table:
        with open(arguments.table, "w") as file:
            print("| System | atoms | configurations | energies, relative | energies | forces |\n"
                  "|---|---|---|---|---|---|", file=file)
            for name, atoms, number, relative, energy, force in rows:
                print(f"| {name} | {atoms} | {number} | {relative:.0e} | {energy:.0e} |"
                      f" {force:.0e} |", file=file)
            for name, why in refused:
                print(f"| {name} | | | OpenMM does not make it: {why} | | |", file=file)
    if not good:
        raise SystemExit("energies or forces differ from OpenMM's")
    print(f"{len(rows)} Systems agree")


if __name__ == "__main__":
    main()
