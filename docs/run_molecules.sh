#!/usr/bin/env bash
# Runs "Your molecule in five minutes" of molecules.md as it is printed, on ACE-VAL-NME, with fewer
# sweeps. Usage: docs/run_molecules.sh FOLDER PYTHON; boltzflow is found by PATH, and PYTHON has
# openmm, PeptideBuilder and biopython.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$1
python=$2
mkdir -p "$folder"
cd "$folder"
"$python" - "$root" <<'MAKE'
import re
import sys
from pathlib import Path

root = Path(sys.argv[1])
sys.path.insert(0, str(root / "tests" / "openmm"))
from openmm import app
from peptides import force_field, peptide

# Heavy atoms alone: the guide's script adds hydrogens.
topology, positions = peptide("V", force_field("ff14SB", "obc2"))
modeller = app.Modeller(topology, positions)
modeller.delete([atom for atom in topology.atoms() if atom.element.symbol == "H"])
with open("molecule.pdb", "w") as file:
    app.PDBFile.writeFile(modeller.topology, modeller.positions, file)

text = (root / "docs" / "molecules.md").read_text()
guide = text[text.index("## Your molecule in five minutes"):]
for language, file in [("python", "write_system.py"), ("toml", "molecule.toml"), ("sh", "run.sh")]:
    block = re.search(f"```{language}\n(.*?)```", guide, re.S).group(1)
    Path(file).write_text(block)
MAKE
"$python" write_system.py
sed -i 's/-n 10000/-n 200 --chains 256 --transitions 10/' run.sh
bash -euo pipefail run.sh
test -s samples.dcd
