//! PDB files, by the columns of <https://www.wwpdb.org/documentation/file-format-content/format33>.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use super::atoms::{Atom, Molecule};
use super::elements::Element;

/// Longer lines are refused: memory must not grow with them.
const LONGEST_LINE: u64 = 4096;

/// A molecule and its configurations.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Frames {
    /// As the first frame has it.
    pub molecule: Molecule,
    /// [frames, atoms, 3] in Å.
    pub positions: Vec<f64>,
}

impl Frames {
    /// Of `molecule` without its positions: those of the first frame.
    pub(crate) fn new(mut molecule: Molecule, positions: Vec<f64>) -> Self {
        molecule.positions = positions.iter().copied().take(3 * molecule.atoms.len()).collect();
        Self { molecule, positions }
    }
}

/// Reads all models. They must have the same atoms in the same order, as many as `wanted` where
/// that is known. Of alternate locations the first counts.
///
/// # Errors
/// What follows the file's name.
pub(crate) fn read_pdb(mut file: impl BufRead, wanted: Option<usize>) -> Result<Frames, String> {
    let mut models = Models { wanted, ..Models::default() };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        let read = read.map_err(|e| format!("cannot be read at line {number}: {e}"))?;
        if read as u64 == LONGEST_LINE {
            return Err(format!("has a line of over {LONGEST_LINE} bytes, line {number}"));
        }
        if read == 0 {
            break;
        }
        models.line(&line).map_err(|problem| format!("line {number} {problem}"))?;
    }
    models.end_of_model().map_err(|problem| format!("at its end {problem}"))?;
    let Models { atoms, positions, serials, links, .. } = models;
    if atoms.is_empty() {
        return Err("has no ATOM or HETATM records: it is not a PDB file of a molecule".into());
    }
    // Bonds of locations that were left out lead nowhere.
    let of = |serial: &String| serials.get(serial).copied();
    let bonds = links.iter().filter_map(|[a, b]| Some([of(a)?, of(b)?]));
    let bonds = bonds.filter(|[a, b]| a != b).collect();
    Ok(Frames::new(Molecule { atoms, bonds, ..Molecule::default() }, positions))
}

#[derive(Default)]
struct Models {
    /// Atoms that every model must have.
    wanted: Option<usize>,
    /// Those of the first model.
    atoms: Vec<Atom>,
    /// Of all models.
    positions: Vec<f64>,
    serials: HashMap<String, usize>,
    /// Serial numbers of bonded atoms.
    links: Vec<[String; 2]>,
    /// Complete models.
    complete: usize,
    /// Atoms of the model that is read.
    read: usize,
}

impl Models {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let record = line.get(..6).unwrap_or(line);
        match record.trim_ascii() {
            b"ATOM" | b"HETATM" => self.atom(line),
            b"MODEL" | b"ENDMDL" | b"END" => self.end_of_model(),
            b"CONECT" => {
                let first = text(line, 7, 11);
                let others = [(12, 16), (17, 21), (22, 26), (27, 31)];
                for (from, to) in others {
                    let other = text(line, from, to);
                    if !first.is_empty() && !other.is_empty() {
                        self.links.push([first.clone(), other]);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn atom(&mut self, line: &[u8]) -> Result<(), String> {
        let column = |from, to, what: &str| {
            let text = text(line, from, to);
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| {
                format!("has `{text}` for {what}, in columns {from} to {to}: a number is due")
            })
        };
        let place = [column(31, 38, "x")?, column(39, 46, "y")?, column(47, 54, "z")?];
        let number = text(line, 23, 26);
        let residue_number = number
            .parse()
            .map_err(|_| format!("has `{number}` for its residue's number, in columns 23 to 26"))?;
        let name = text(line, 13, 16);
        let atom = Atom {
            element: element(line, &name),
            name,
            residue: text(line, 18, 20),
            residue_number,
            chain: text(line, 22, 22),
        };
        if !text(line, 17, 17).is_empty() && self.is_there(&atom) {
            return Ok(());
        }
        if self.complete == 0 {
            if self.wanted.is_some_and(|wanted| self.read == wanted) {
                return Err(self.wrong_count("more"));
            }
            self.serials.entry(text(line, 7, 11)).or_insert(self.read);
            self.atoms.push(atom);
        } else {
            match self.atoms.get(self.read) {
                Some(first) if first.name == atom.name && first.is_of_residue(&atom) => {}
                Some(first) => {
                    return Err(format!(
                        "is the atom {} and was {} in the first model: all models must have the \
                         same atoms in the same order",
                        atom.label(),
                        first.label()
                    ))
                }
                None => {
                    return Err(format!(
                        "is one atom more than the {} of the first model",
                        self.atoms.len()
                    ))
                }
            }
        }
        self.positions.extend(place);
        self.read += 1;
        Ok(())
    }

    /// Whether the residue that is read has an atom of that name.
    fn is_there(&self, atom: &Atom) -> bool {
        let read = self.atoms.get(..self.read).unwrap_or_default();
        let residue = read.iter().rev().take_while(|other| other.is_of_residue(atom));
        residue.into_iter().any(|other| other.name == atom.name)
    }

    fn wrong_count(&self, read: &str) -> String {
        let wanted = self.wanted.unwrap_or_default();
        format!("is in a model with {read} atoms than the {wanted} of the target")
    }

    fn end_of_model(&mut self) -> Result<(), String> {
        let wanted = match self.complete {
            0 => self.wanted.unwrap_or(self.read),
            _ => self.atoms.len(),
        };
        if self.read == 0 {
            return Ok(());
        }
        if self.read != wanted {
            return Err(format!("a model ends after {} of {wanted} atoms", self.read));
        }
        self.complete += 1;
        self.read = 0;
        Ok(())
    }
}

/// The columns `from` to `to`, counted from 1, without blanks around.
fn text(line: &[u8], from: usize, to: usize) -> String {
    let columns = line.get(from - 1..to.min(line.len())).unwrap_or_default();
    let text = String::from_utf8_lossy(columns.trim_ascii());
    text.chars().filter(|c| !c.is_control()).collect()
}

/// By the columns of the element, else by the name: that of a one-letter element begins in its
/// second column, and hydrogens of four letters fill all.
fn element(line: &[u8], name: &str) -> Option<Element> {
    let given = Element::of_symbol_in_any_case(&text(line, 77, 78));
    given.or_else(|| {
        let two = text(line, 13, 14);
        let letters = two.trim_start_matches(|c: char| c.is_ascii_digit());
        if name.len() == 4 && letters.starts_with(['H', 'h']) {
            return Element::of_symbol("H");
        }
        let one = letters.get(..1).unwrap_or_default();
        Element::of_symbol_in_any_case(letters).or_else(|| Element::of_symbol_in_any_case(one))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLYCINE: &str = "\
HEADER    TEST
ATOM      1  N   GLY A   2       1.000   2.000   3.000  1.00  0.00           N
ATOM      2  CA AGLY A   2       2.000   2.000   3.000  0.60  0.00           C
ATOM      3  CA BGLY A   2       9.000   2.000   3.000  0.40  0.00           C
HETATM    4 CA    CA A   3      -1.000   0.000   0.500
ATOM      5 HG11 VAL A   4       0.000   1.000   0.000
TER
CONECT    1    2    3
END
";

    #[test]
    fn columns_are_read_and_the_first_of_alternate_locations_counts() {
        let frames = read_pdb(GLYCINE.as_bytes(), None).unwrap();
        let Molecule { atoms, bonds, .. } = &frames.molecule;
        let labels: Vec<String> = atoms.iter().map(Atom::label).collect();
        assert_eq!(labels, ["GLY2:N", "GLY2:CA", "CA3:CA", "VAL4:HG11"]);
        let symbols: Vec<&str> = atoms.iter().map(Atom::symbol).collect();
        assert_eq!(symbols, ["N", "C", "Ca", "H"]);
        assert_eq!(frames.positions[..6], [1.0, 2.0, 3.0, 2.0, 2.0, 3.0]);
        assert_eq!(bonds, &[[0, 1]]);
    }

    #[test]
    fn models_are_frames_of_the_same_atoms() {
        let model = GLYCINE.lines().filter(|l| l.starts_with("ATOM") || l.starts_with("HETATM"));
        let model: String = model.map(|line| format!("{line}\n")).collect();
        let two = format!("MODEL        1\n{model}ENDMDL\nMODEL        2\n{model}ENDMDL\nEND\n");
        assert_eq!(read_pdb(two.as_bytes(), Some(4)).unwrap().positions.len(), 24);
        let shorter = two.replacen("ENDMDL", "", 1);
        assert_eq!(read_pdb(shorter.as_bytes(), None).unwrap().positions.len(), 24);
        for (damaged, wanted, word) in [
            (two.replace("MODEL        2\nATOM", "MODEL        2\nREM "), None, "same atoms"),
            (two.clone(), Some(5), "4 of 5"),
            (two.clone(), Some(3), "more atoms than the 3"),
            (two.replacen("1.000 ", "1.0x0 ", 1), None, "`1.0x0` for x"),
            (two.replacen("1.000 ", "  inf ", 1), None, "`inf` for x"),
            (two.replacen("A   2", "A  2x", 1), None, "residue's number"),
            (two.lines().take(9).map(|line| format!("{line}\n")).collect(), None, "1 of 4"),
            ("REMARK\n".to_string(), None, "no ATOM"),
        ] {
            let said = read_pdb(damaged.as_bytes(), wanted).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
        let long = format!("REMARK {}\n", "x".repeat(5000));
        assert!(read_pdb(long.as_bytes(), None).unwrap_err().contains("line 1"));
    }
}
