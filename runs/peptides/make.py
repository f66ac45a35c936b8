"""Makes Systems and structures of capped peptides, with AMBER ff96 and OBC1, as `aldp` has them.

Hydrogens of a structure are elsewhere each time, as OpenMM places them at random.

pip install openmm PeptideBuilder biopython; python runs/peptides/make.py
"""

import pathlib
import sys

import openmm
from openmm import app

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "openmm"))
from peptides import force_field, make_system, peptide  # noqa: E402

SEQUENCES = {"ala3": "AAA", "ala5": "AAAAA", "pro": "P", "lys": "K"}

forcefield = force_field("ff96", "obc1")
for name, sequence in SEQUENCES.items():
    topology, positions = peptide(sequence, forcefield)
    system = make_system(forcefield, topology)
    (HERE / f"{name}.xml").write_text(openmm.XmlSerializer.serialize(system))
    with open(HERE / f"{name}.pdb", "w") as file:
        app.PDBFile.writeFile(topology, positions, file)
