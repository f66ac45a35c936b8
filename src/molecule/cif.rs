//! PDBx/mmCIF files: the table `_atom_site` of <https://mmcif.wwpdb.org>.

use super::atoms::{Atom, Molecule};
use super::elements::Element;
use super::pdb::Frames;

/// Reads all models of the first table of atoms in `text`. They must have the same atoms in the
/// same order. Of alternate locations the first counts.
///
/// # Errors
/// What follows the file's name.
pub(crate) fn read_cif(text: &str) -> Result<Frames, String> {
    let mut words = Words { lines: text.lines().enumerate(), rest: "", number: 0 };
    let columns = table_of_atoms(&mut words)?;
    let columns = Columns::of(&columns)?;
    let mut models = Models::default();
    let mut row: Vec<String> = Vec::with_capacity(columns.count);
    // The word that comes next, if it ends the table.
    while let Some(word) = words.next()? {
        if word.ends_table() && row.is_empty() {
            break;
        }
        if word.ends_table() {
            return Err(format!("line {} ends the atoms within a row", words.number));
        }
        row.push(word.text);
        if row.len() == columns.count {
            let here = |problem| format!("line {} {problem}", words.number);
            models.atom(&columns, &row).map_err(here)?;
            row.clear();
        }
    }
    if !row.is_empty() {
        return Err("ends within a row of its atoms: it was cut off".to_string());
    }
    models.frames()
}

/// Goes to the table's first value and returns the names of its columns.
fn table_of_atoms(words: &mut Words<'_>) -> Result<Vec<String>, String> {
    let mut columns: Vec<String> = Vec::new();
    loop {
        let before = words.clone();
        let Some(word) = words.next()? else {
            return Err("has no table `_atom_site`: it is not a PDBx/mmCIF file of atoms".into());
        };
        let name = word.text.to_ascii_lowercase();
        match name.strip_prefix("_atom_site.").filter(|_| !word.quoted) {
            Some(column) => columns.push(column.to_string()),
            None if !columns.is_empty() => {
                *words = before;
                return Ok(columns);
            }
            None => {}
        }
    }
}

/// Where a row has what.
struct Columns {
    count: usize,
    place: [usize; 3],
    name: usize,
    element: Option<usize>,
    residue: Option<usize>,
    residue_number: Option<usize>,
    chain: Option<usize>,
    alternate: Option<usize>,
    model: Option<usize>,
}

impl Columns {
    fn of(names: &[String]) -> Result<Self, String> {
        let find = |wanted: &[&str]| {
            wanted.iter().find_map(|wanted| names.iter().position(|name| name == wanted))
        };
        let need = |wanted: &[&str]| {
            find(wanted).ok_or_else(|| format!("has no column `_atom_site.{}`", wanted[0]))
        };
        Ok(Self {
            count: names.len(),
            place: [need(&["cartn_x"])?, need(&["cartn_y"])?, need(&["cartn_z"])?],
            name: need(&["auth_atom_id", "label_atom_id"])?,
            element: find(&["type_symbol"]),
            residue: find(&["auth_comp_id", "label_comp_id"]),
            residue_number: find(&["auth_seq_id", "label_seq_id"]),
            chain: find(&["auth_asym_id", "label_asym_id"]),
            alternate: find(&["label_alt_id"]),
            model: find(&["pdbx_pdb_model_num"]),
        })
    }
}

#[derive(Default)]
struct Models {
    /// Those of the first model.
    atoms: Vec<Atom>,
    positions: Vec<f64>,
    /// Name of the model that is read.
    model: String,
    /// Complete models, and atoms of the one that is read.
    complete: usize,
    read: usize,
}

impl Models {
    fn atom(&mut self, columns: &Columns, row: &[String]) -> Result<(), String> {
        let text = |column: Option<usize>| {
            let cell = column.and_then(|column| row.get(column)).map_or("", String::as_str);
            if matches!(cell, "." | "?") {
                ""
            } else {
                cell
            }
        };
        let model = text(columns.model);
        if model != self.model && self.read > 0 {
            self.end_of_model()?;
        }
        self.model = model.to_string();
        let number = text(columns.residue_number);
        let residue_number = match number {
            "" => 0,
            number => number.parse().map_err(|_| {
                format!("has `{number:.20}` for the number of a residue: a whole number is due")
            })?,
        };
        let atom = Atom {
            name: text(Some(columns.name)).to_string(),
            element: Element::of_symbol_in_any_case(text(columns.element)),
            residue: text(columns.residue).to_string(),
            residue_number,
            chain: text(columns.chain).to_string(),
        };
        let read = self.atoms.get(..self.read).unwrap_or_default();
        let mut residue = read.iter().rev().take_while(|other| other.is_of_residue(&atom));
        if !text(columns.alternate).is_empty() && residue.any(|other| other.name == atom.name) {
            return Ok(());
        }
        match self.atoms.get(self.read) {
            _ if self.complete == 0 => self.atoms.push(atom),
            Some(first) if *first == atom => {}
            _ => {
                return Err(format!(
                    "has the atom {}, which is not the next one of the first model: all models \
                     must have the same atoms in the same order",
                    atom.label()
                ))
            }
        }
        for column in columns.place {
            let cell = text(Some(column));
            let number = cell.parse::<f64>().ok().filter(|number| number.is_finite());
            self.positions.push(
                number
                    .ok_or_else(|| format!("has the coordinate `{cell:.20}`: a number is due"))?,
            );
        }
        self.read += 1;
        Ok(())
    }

    fn end_of_model(&mut self) -> Result<(), String> {
        if self.read != self.atoms.len() {
            return Err(format!("ends a model after {} of {} atoms", self.read, self.atoms.len()));
        }
        self.complete += 1;
        self.read = 0;
        Ok(())
    }

    fn frames(mut self) -> Result<Frames, String> {
        if self.atoms.is_empty() {
            return Err("has a table `_atom_site` without atoms".to_string());
        }
        self.end_of_model()?;
        let molecule = Molecule { atoms: self.atoms, ..Molecule::default() };
        Ok(Frames::new(molecule, self.positions))
    }
}

/// A value, or a word of the format's own.
struct Word {
    text: String,
    quoted: bool,
}

impl Word {
    fn ends_table(&self) -> bool {
        let text = self.text.to_ascii_lowercase();
        let own = text.starts_with('_') || text == "loop_" || text.starts_with("data_");
        own && !self.quoted
    }
}

/// The words of a file, one by one.
#[derive(Clone)]
struct Words<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    rest: &'a str,
    /// Of the line that is read, from 1.
    number: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<Option<Word>, String> {
        loop {
            let rest = self.rest.trim_start();
            if !rest.is_empty() && !rest.starts_with('#') {
                return self.word(rest).map(Some);
            }
            let Some((index, line)) = self.lines.next() else { return Ok(None) };
            (self.number, self.rest) = (index + 1, line);
            if let Some(first) = line.strip_prefix(';') {
                return self.block(first).map(Some);
            }
        }
    }

    fn word(&mut self, rest: &'a str) -> Result<Word, String> {
        let end_of = |quote: char| {
            let inner = &rest[1..];
            let ends = inner.match_indices(quote).map(|(at, _)| at);
            // A quote within a word is a letter of it, as in O5'.
            let mut ends =
                ends.filter(|at| inner[at + 1..].chars().next().is_none_or(char::is_whitespace));
            ends.next()
        };
        match rest.chars().next() {
            Some(quote @ ('\'' | '"')) => match end_of(quote) {
                Some(end) => {
                    self.rest = &rest[end + 2..];
                    Ok(Word { text: rest[1..=end].to_string(), quoted: true })
                }
                None => Err(format!("line {} has a quote that does not end", self.number)),
            },
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                self.rest = &rest[end..];
                Ok(Word { text: rest[..end].to_string(), quoted: false })
            }
        }
    }

    /// A text of several lines, between two that begin with a semicolon.
    fn block(&mut self, first: &str) -> Result<Word, String> {
        let mut text = first.to_string();
        let from = self.number;
        for (index, line) in self.lines.by_ref() {
            self.number = index + 1;
            if let Some(rest) = line.strip_prefix(';') {
                self.rest = rest;
                return Ok(Word { text, quoted: true });
            }
            text.push('\n');
            text.push_str(line);
        }
        Err(format!("has a text that begins in line {from} and does not end"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATER: &str = "data_water\n_entry.id 'of water'\n_struct.title\n;two\nlines;\n;\nloop_
_atom_site.group_PDB\n_atom_site.type_symbol\n_atom_site.label_atom_id
_atom_site.label_alt_id\n_atom_site.auth_comp_id\n_atom_site.auth_seq_id
_atom_site.Cartn_x\n_atom_site.Cartn_y\n_atom_site.Cartn_z\n_atom_site.pdbx_PDB_model_num
HETATM O \"O5'\" . HOH 7 0.1 0 0 1\nHETATM H 'H 1' A HOH 7 1 0 0 1
HETATM H 'H 1' B HOH 7 5 0 0 1\nHETATM H H2 ? HOH 7\n0 1 0 1
HETATM O \"O5'\" . HOH 7 0.2 0 0 2\nHETATM H 'H 1' . HOH 7 1 0 0 2
HETATM H H2 . HOH 7 0 1 0 2\n#\nloop_\n_other.id\n1\n";

    #[test]
    fn atoms_are_read_with_quotes_blocks_and_models() {
        let frames = read_cif(WATER).unwrap();
        let labels: Vec<String> = frames.molecule.atoms.iter().map(Atom::label).collect();
        assert_eq!(labels, ["HOH7:O5'", "HOH7:H 1", "HOH7:H2"]);
        assert_eq!(frames.positions.len(), 18);
        assert_eq!((frames.positions[0], frames.positions[9]), (0.1, 0.2));
        for (damaged, word) in [
            (WATER.replace("0.2 0 0 2", "0.2 0 nan 2"), "coordinate `nan`"),
            (WATER.replace("HOH 7 1 0 0 2", "HOH 8 1 0 0 2"), "next one of the first model"),
            (WATER.replace("H2 . HOH 7 0 1 0 2", ""), "within a row"),
            (WATER.replace("_atom_site.Cartn_y\n", ""), "no column `_atom_site.cartn_y`"),
            (WATER.replace("_atom_site.", "_atoms."), "no table"),
            (WATER.replace("lines;\n;", "lines;\n"), "does not end"),
            (WATER.replace("'H 1' B", "'H 1 B"), "quote"),
            (WATER.replace("HOH 7 5", "HOH x 5"), "number of a residue"),
        ] {
            let said = read_cif(&damaged).unwrap_err();
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}
