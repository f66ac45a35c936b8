"""Makes aldp.xml and aldp.pdb: alanine dipeptide, ACE-ALA-NME, with AMBER ff96 and OBC1.

pip install openmm PeptideBuilder biopython; python targets/aldp.py
"""

import pathlib
import sys

import openmm
from openmm import app, unit

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "openmm"))
from peptides import force_field, in_order, make_system, peptide  # noqa: E402

# The order of atoms in AMBER's templates, in which the literature has this molecule.
ORDER = {
    "ACE": "H1 CH3 H2 H3 C O",
    "ALA": "N H CA HA CB HB1 HB2 HB3 C O",
    "NME": "N H C H1 H2 H3",
}

forcefield = force_field("ff96", "obc1")
topology, positions = in_order(*peptide("A", forcefield), ORDER)
system = make_system(forcefield, topology)

# The structure is a minimum of the energy.
integrator = openmm.VerletIntegrator(0.001)
reference = openmm.Platform.getPlatformByName("Reference")
context = openmm.Context(system, integrator, reference)
context.setPositions(positions)
openmm.LocalEnergyMinimizer.minimize(context, 1e-3)
state = context.getState(positions=True, energy=True)
print("energy", state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole), "kJ/mol")

(HERE / "aldp.xml").write_text(openmm.XmlSerializer.serialize(system))
positions = state.getPositions(asNumpy=True)
with open(HERE / "aldp.pdb", "w") as file:
    app.PDBFile.writeFile(topology, positions - positions.mean(axis=0), file)
