//! Extended XYZ, the frames of ASE, OVITO and others: <https://github.com/libAtoms/extxyz>.
//!
//! A frame is the number of atoms, a line `key=value …` and a line for each atom, whose columns
//! `Properties=species:S:1:pos:R:3:…` names; without it they are a symbol and the coordinates. The
//! reader is our own: the crate extxyz 0.2 keeps a whole file in memory, whatever its size.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use super::format::{Contents, Format, Samples};
use crate::error::Error;
use crate::files::AtomicFile;
use crate::system::System;

/// Symbols of the elements up to radon.
const ELEMENTS: &str =
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga \
     Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu \
     Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn";

/// Longer lines are refused: memory must not grow with them.
const LONGEST_LINE: u64 = 1 << 16;

/// Where a frame's line has what.
#[derive(Debug, PartialEq)]
struct Columns {
    species: usize,
    position: usize,
    /// Numbers of a position.
    dimension: usize,
    total: usize,
}

/// A frame per sample.
pub(super) struct Xyz;

impl Format for Xyz {
    fn endings(&self) -> &'static [&'static str] {
        &["xyz", "extxyz"]
    }

    fn write(
        &self,
        file: &mut AtomicFile,
        contents: &Contents<'_>,
        batches: &mut dyn Iterator<Item = Result<Samples, Error>>,
    ) -> Result<(), Error> {
        let mut frames = Frames::new(contents.system, contents.labels);
        for batch in batches {
            frames.write(&batch?, file).map_err(|source| contents.failed(source))?;
        }
        Ok(())
    }

    fn read(
        &self,
        file: BufReader<File>,
        system: System,
        species: &[usize],
    ) -> Result<Samples, String> {
        read_frames(file, system, species)
    }
}

/// Frames of one system.
struct Frames {
    system: System,
    /// The column `species` of each particle, which ASE wants to be an element.
    species: Vec<String>,
    /// The column `label` with their own names, where those are not elements.
    labels: Option<Vec<String>>,
    text: String,
}

impl Frames {
    /// `labels` are the names of the particles' species; none when all are alike.
    fn new(system: System, labels: &[String]) -> Self {
        let n = system.particles();
        let is_element = |name: &String| ELEMENTS.split(' ').any(|element| element == name);
        let alike = labels.windows(2).all(|pair| pair[0] == pair[1]);
        let mut kinds: Vec<&String> = Vec::new();
        for label in labels {
            if !kinds.contains(&label) {
                kinds.push(label);
            }
        }
        let (species, labels) = if labels.len() != n {
            (vec!["X".to_string(); n], None)
        } else if labels.iter().all(is_element) {
            (labels.to_vec(), None)
        } else if alike {
            (vec!["X".to_string(); n], Some(labels.to_vec()))
        } else {
            // Stand-ins, so that programs which accept elements only can distinguish them.
            let stand_in = |label: &String| {
                let kind = kinds.iter().position(|kind| *kind == label).unwrap_or(0);
                ELEMENTS.split(' ').nth(kind).unwrap_or("X").to_string()
            };
            (labels.iter().map(stand_in).collect(), Some(labels.to_vec()))
        };
        Self { system, species, labels, text: String::new() }
    }

    /// Writes the frames of a batch. Numbers come back exactly: they are written as the shortest
    /// text that does.
    fn write(&mut self, batch: &Samples, out: &mut impl Write) -> io::Result<()> {
        let (n, d) = (self.system.particles(), self.system.dimension());
        let label = if self.labels.is_some() { ":label:S:1" } else { "" };
        for (index, x) in batch.positions.chunks_exact(n * d).enumerate() {
            let text = &mut self.text;
            text.clear();
            // Writing to a String cannot fail.
            let _ = write!(text, "{n}\nProperties=species:S:1:pos:R:3{label}");
            for (name, values) in [("energy", &batch.energies), ("log_weight", &batch.log_weights)]
            {
                if let Some(value) = values.get(index) {
                    let _ = write!(text, " {name}={value}");
                }
            }
            text.push_str(" pbc=\"F F F\"\n");
            for (particle, row) in x.chunks_exact(d).enumerate() {
                text.push_str(self.species.get(particle).map_or("X", String::as_str));
                for value in row {
                    let _ = write!(text, " {value}");
                }
                if d == 2 {
                    text.push_str(" 0.0");
                }
                if let Some(label) = self.labels.as_ref().and_then(|labels| labels.get(particle)) {
                    text.push(' ');
                    text.push_str(label);
                }
                text.push('\n');
            }
            out.write_all(text.as_bytes())?;
        }
        Ok(())
    }
}

/// Reads all frames. Every frame must have the same symbols in the same order, alike where
/// `species` (a number for each particle, none when all are alike) has like particles, unlike
/// elsewhere. `log_weight=…` of the second line is read where every frame has it; energies are not,
/// since files do not say in which unit they are.
fn read_frames(
    mut reader: impl BufRead,
    system: System,
    species: &[usize],
) -> Result<Samples, String> {
    let (n, d) = (system.particles(), system.dimension());
    let (mut positions, mut log_weights) = (Vec::new(), Vec::new());
    let mut symbols: Vec<String> = Vec::new();
    let mut line = String::new();
    for frame in 0.. {
        if !next_line(&mut reader, &mut line, frame)? {
            break;
        }
        if line.trim().is_empty() {
            while next_line(&mut reader, &mut line, frame)? {
                if !line.trim().is_empty() {
                    return Err(format!(
                        "frame {frame} comes after an empty line: remove the line"
                    ));
                }
            }
            break;
        }
        let first = line.trim();
        let count: usize = first.parse().map_err(|_| {
            format!(
                "frame {frame} should begin with its number of atoms and begins with `{}`",
                shown(first)
            )
        })?;
        if count != n {
            return Err(format!("frame {frame} has {count} atoms and the target has {n}"));
        }
        let cut = |atom: usize| {
            format!("frame {frame} ends before atom {atom} of {n} (counted from 0): it was cut off")
        };
        if !next_line(&mut reader, &mut line, frame)? {
            return Err(cut(0));
        }
        let columns = columns(&line, d).map_err(|problem| format!("frame {frame} {problem}"))?;
        if let Some(text) = value(&line, "log_weight") {
            let weight: f64 = text.parse().map_err(|_| {
                format!("frame {frame} has the log weight `{}`, which is not a number", shown(text))
            })?;
            log_weights.push(weight);
        }
        for atom in 0..n {
            if !next_line(&mut reader, &mut line, frame)? {
                return Err(cut(atom));
            }
            let here =
                |problem: String| format!("frame {frame}, atom {atom} (counted from 0) {problem}");
            let cells: Vec<&str> = line.split_whitespace().collect();
            if cells.len() < columns.total {
                let problem = format!("has {} of {} columns", cells.len(), columns.total);
                return Err(here(problem));
            }
            let symbol = cells[columns.species];
            match symbols.get(atom) {
                Some(known) if known != symbol => {
                    return Err(here(format!(
                    "is `{}` and was `{known}` in frame 0: the order of atoms must be the same in \
                         all frames",
                    shown(symbol)
                )))
                }
                Some(_) => {}
                None => {
                    check_species(atom, symbol, &symbols, species).map_err(here)?;
                    symbols.push(shown(symbol));
                }
            }
            for (axis, cell) in cells[columns.position..].iter().take(columns.dimension).enumerate()
            {
                let number: f64 = cell
                    .parse()
                    .map_err(|_| here(format!("has `{}`, which is not a number", shown(cell))))?;
                if !number.is_finite() {
                    return Err(here(format!("has the coordinate {number}: remove or correct it")));
                }
                if axis < d {
                    positions.push(number);
                } else if number != 0.0 {
                    return Err(here(format!("has z = {number} and the target is in a plane")));
                }
            }
        }
        if !log_weights.is_empty() && log_weights.len() != frame + 1 {
            return Err(format!("frame {frame} has no log_weight, or the frames before have none"));
        }
    }
    if positions.is_empty() {
        return Err("has no frames".to_string());
    }
    Ok(Samples { positions, log_weights, ..Samples::default() })
}

/// Checks that `symbol` of `atom` is that of the atoms of its species in the target, and of no
/// others.
fn check_species(
    atom: usize,
    symbol: &str,
    symbols: &[String],
    species: &[usize],
) -> Result<(), String> {
    for (other, known) in symbols.iter().enumerate() {
        let alike = species.get(atom) == species.get(other);
        if alike != (known == symbol) {
            return Err(format!(
                "is `{}` and atom {other} is `{known}`, but they are {} in the target: put the \
                 atoms in the target's order",
                shown(symbol),
                if alike { "alike" } else { "unlike" }
            ));
        }
    }
    Ok(())
}

/// The next line without its end; false at the end of the file.
fn next_line(reader: &mut impl BufRead, line: &mut String, frame: usize) -> Result<bool, String> {
    line.clear();
    let read = reader.by_ref().take(LONGEST_LINE).read_line(line);
    let read = read.map_err(|e| format!("cannot be read at frame {frame}: {e}"))?;
    if read as u64 == LONGEST_LINE {
        return Err(format!("has a line of over {LONGEST_LINE} bytes in frame {frame}"));
    }
    Ok(read > 0)
}

/// The value of `key` in a line `key=value key="value" …`.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = line;
    while let Some(at) = rest.find(key) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + key.len()..].strip_prefix('=');
        if let (true, Some(after)) = (before.is_none_or(char::is_whitespace), after) {
            return match after.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => after.split_whitespace().next(),
            };
        }
        rest = &rest[at + key.len()..];
    }
    None
}

fn columns(line: &str, dimension: usize) -> Result<Columns, String> {
    let Some(properties) = value(line, "Properties") else {
        return Ok(Columns { species: 0, position: 1, dimension, total: 1 + dimension });
    };
    let wrong = || {
        format!("has Properties=`{}`, which should be like species:S:1:pos:R:3", shown(properties))
    };
    let parts: Vec<&str> = properties.split(':').collect();
    let (mut species, mut position, mut total) = (None, None, 0usize);
    for part in parts.chunks(3) {
        let [name, kind, width] = part else { return Err(wrong()) };
        let width: usize =
            width.parse().ok().filter(|w| (1..=1000).contains(w)).ok_or_else(wrong)?;
        match (*name, *kind) {
            ("species", "S") if width == 1 => species = Some(total),
            ("pos", "R") if width == 3 || width == dimension => position = Some((total, width)),
            ("species" | "pos", _) => return Err(wrong()),
            _ => {}
        }
        total += width;
    }
    let (species, (position, dimension)) = species.zip(position).ok_or_else(wrong)?;
    Ok(Columns { species, position, dimension, total })
}

/// What a message shows of a file's text.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
