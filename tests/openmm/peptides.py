"""Capped peptides and their OpenMM Systems, from nothing but OpenMM's own force-field files.

Needs `pip install openmm PeptideBuilder biopython`.
"""

import io

import Bio.PDB
import openmm
import PeptideBuilder
from openmm import app, unit

RESIDUES = {
    "ALA": "A", "ARG": "R", "ASN": "N", "ASP": "D", "CYS": "C", "GLN": "Q", "GLU": "E",
    "GLY": "G", "HIS": "H", "ILE": "I", "LEU": "L", "LYS": "K", "MET": "M", "PHE": "F",
    "PRO": "P", "SER": "S", "THR": "T", "TRP": "W", "TYR": "Y", "VAL": "V",
}

# Files of each force field, and what stands before the name of a solvent model.
FORCE_FIELDS = {
    "ff96": ["amber96.xml"],
    "ff99SB-ILDN": ["amber99sbildn.xml"],
    "ff14SB": ["amber14/protein.ff14SB.xml"],
    "ff19SB": ["amber19/protein.ff19SB.xml"],
    "CHARMM36": ["charmm36_2024.xml"],
}
# CHARMM's caps: OpenMM tries all patches of a residue in all combinations, for half a minute.
CAPS = {"ACE_1", "ACP_1", "CT3_1"}
SOLVENTS = ["none", "hct", "obc1", "obc2", "gbn", "gbn2"]


def peptide(sequence, forcefield):
    """A PDB topology and positions of ACE-sequence-NME, made of standard geometry.

    The caps are what is left of a glycine at either end: of the first its CA, C and O, of the last
    its N and CA.
    """
    structure = PeptideBuilder.make_extended_structure(f"G{sequence}G")
    last = 2 + len(sequence)
    kept = {1: ("ACE", {"CA": "CH3", "C": "C", "O": "O"}), last: ("NME", {"N": "N", "CA": "C"})}
    for residue in structure.get_residues():
        number = residue.id[1]
        if number in kept:
            residue.resname, names = kept[number]
            atoms = list(residue)
            for atom in atoms:
                residue.detach_child(atom.id)
            for atom in atoms:
                if atom.id in names:
                    atom.name = atom.id = names[atom.id]
                    atom.fullname = f" {atom.name:3}"
                    residue.add(atom)
        elif "OXT" in residue:
            residue.detach_child("OXT")
    writer = Bio.PDB.PDBIO()
    writer.set_structure(structure)
    text = io.StringIO()
    writer.save(text)
    pdb = app.PDBFile(io.StringIO(text.getvalue()))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addHydrogens(forcefield)
    return modeller.topology, modeller.positions


def force_field(name, solvent):
    files = list(FORCE_FIELDS[name])
    if solvent != "none":
        files.append(f"implicit/{solvent}.xml")
    made = app.ForceField(*files)
    for name, patches in made._templatePatches.items():
        made._templatePatches[name] = {patch for patch in patches if patch[0] in CAPS}
    return made


def in_one_residue(topology):
    """The same molecule as one residue, named as its second: CHARMM's caps are patches of it."""
    result = app.Topology()
    _, named, *_ = topology.residues()
    residue = result.addResidue(named.name, result.addChain())
    atoms = {a: result.addAtom(a.name, a.element, residue) for a in topology.atoms()}
    for a, b in topology.bonds():
        result.addBond(atoms[a], atoms[b])
    return result


def make_system(forcefield, topology):
    return forcefield.createSystem(
        topology, nonbondedMethod=app.NoCutoff, constraints=None, removeCMMotion=False
    )


def in_order(topology, positions, order):
    """The same molecule with the atoms of each residue in the order of names in `order`."""
    result, places, atoms = app.Topology(), [], {}
    for chain in topology.chains():
        new_chain = result.addChain(chain.id)
        for residue in chain.residues():
            new_residue = result.addResidue(residue.name, new_chain, residue.id)
            named = {atom.name: atom for atom in residue.atoms()}
            for name in order[residue.name].split():
                atom = named.pop(name)
                atoms[atom] = result.addAtom(name, atom.element, new_residue)
                places.append(positions[atom.index])
            assert not named, f"{residue.name} has atoms without a place: {list(named)}"
    for a, b in topology.bonds():
        result.addBond(atoms[a], atoms[b])
    return result, places
