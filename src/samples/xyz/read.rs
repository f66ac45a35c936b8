//! Reading of frames.

use std::borrow::Cow;
use std::io::{BufRead, Read};

use super::comment::{shown, Comment};
use super::names::{check_order, symbol, Atom};
use crate::samples::format::{Particles, Samples};

/// Longer lines are refused: memory must not grow with them.
const LONGEST_LINE: u64 = 1 << 16;

/// Reads all frames. Every frame must have the same symbols in the same order, which agree with the
/// names of the particles. `log_weight=…` of the second line is read where every frame has it;
/// energies are not, since files do not say in which unit they are.
pub(super) fn read_frames(reader: impl BufRead, particles: &Particles) -> Result<Samples, String> {
    let order = |atoms: &[Atom]| check_order(particles, atoms);
    read_atoms(reader, particles, order).map(|(samples, _)| samples)
}

/// The samples, and what the first frame calls its atoms if they are in `order`.
pub(super) fn read_atoms(
    reader: impl BufRead,
    particles: &Particles,
    order: impl Fn(&[Atom]) -> Result<(), (usize, String)>,
) -> Result<(Samples, Vec<Atom>), String> {
    let (n, d) = (particles.system.particles(), particles.system.dimension());
    let unit = particles.units.map_or(1.0, |units| units.angstrom);
    let edges = particles.system.periodic_box();
    let edges: Option<Vec<f64>> = edges.map(|edges| edges.iter().map(|l| l * unit).collect());
    let mut samples = Samples::default();
    let mut atoms: Vec<Atom> = Vec::new();
    let mut lines = Lines { reader, line: String::new(), frame: 0 };
    while lines.begin(n)? {
        let frame = lines.frame;
        let here = |problem: String| format!("frame {frame} {problem}");
        if !lines.next()? {
            return Err(lines.cut(0, n));
        }
        Comment::check_trajectory(&lines.line).map_err(here)?;
        let comment = Comment::parse(&lines.line).map_err(here)?;
        comment.check_box(edges.as_deref()).map_err(here)?;
        let columns = Columns::of(&comment, d).map_err(here)?;
        samples.log_weights.extend(comment.log_weight().map_err(here)?);
        let here = |atom: usize, problem: String| {
            format!("frame {frame}, atom {atom} (counted from 0) {problem}")
        };
        for atom in 0..n {
            if !lines.next()? {
                return Err(lines.cut(atom, n));
            }
            let row = columns.row(&lines.line).map_err(|problem| here(atom, problem))?;
            match atoms.get(atom) {
                Some(first) => row.check_same(first),
                None => {
                    atoms.push(row.atom());
                    Ok(())
                }
            }
            .and_then(|()| row.coordinates(d, unit, &mut samples.positions))
            .map_err(|problem| here(atom, problem))?;
        }
        if frame == 0 {
            order(&atoms).map_err(|(atom, problem)| here(atom, problem))?;
        }
        if !samples.log_weights.is_empty() && samples.log_weights.len() != frame + 1 {
            return Err(format!("frame {frame} has no log_weight, or the frames before have none"));
        }
        lines.frame += 1;
    }
    if samples.positions.is_empty() {
        return Err("has no frames".to_string());
    }
    Ok((samples, atoms))
}

/// A file, line by line.
struct Lines<R> {
    reader: R,
    /// The last one, without its end.
    line: String,
    /// The frame that it belongs to.
    frame: usize,
}

impl<R: BufRead> Lines<R> {
    /// Goes to the first line of a frame, which must have `n` atoms; false after the last frame.
    fn begin(&mut self, n: usize) -> Result<bool, String> {
        let frame = self.frame;
        if !self.next()? {
            return Ok(false);
        }
        if frame == 0 && self.line.starts_with('\u{feff}') {
            // A byte-order mark, which editors of Windows write.
            self.line.remove(0);
        }
        if self.line.trim().is_empty() {
            while self.next()? {
                if !self.line.trim().is_empty() {
                    return Err(format!(
                        "frame {frame} comes after an empty line: remove the line"
                    ));
                }
            }
            return Ok(false);
        }
        let first = self.line.trim();
        let count: usize = first.parse().map_err(|_| {
            format!(
                "frame {frame} should begin with its number of atoms and begins with `{}`",
                shown(first)
            )
        })?;
        match count == n {
            true => Ok(true),
            false => Err(format!("frame {frame} has {count} atoms and the target has {n}")),
        }
    }

    /// Goes to the next line; false at the end of the file.
    fn next(&mut self) -> Result<bool, String> {
        let frame = self.frame;
        self.line.clear();
        let read = self.reader.by_ref().take(LONGEST_LINE).read_line(&mut self.line);
        let read = read.map_err(|e| format!("cannot be read at frame {frame}: {e}"))?;
        if read as u64 == LONGEST_LINE {
            return Err(format!("has a line of over {LONGEST_LINE} bytes in frame {frame}"));
        }
        let end = self.line.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let length = end.map_or(self.line.len(), str::len);
        self.line.truncate(length);
        // Some programs end a line or a word at these, others do not.
        match self.line.chars().find(|&c| c.is_control() && c != '\t') {
            Some(c) => Err(format!(
                "has the control character U+{:04X} in frame {frame}: remove it",
                u32::from(c)
            )),
            None => Ok(read > 0),
        }
    }

    fn cut(&self, atom: usize, n: usize) -> String {
        let frame = self.frame;
        format!("frame {frame} ends before atom {atom} of {n} (counted from 0): it was cut off")
    }
}

/// Where a line of a frame has what.
struct Columns {
    /// A symbol, or a number of an element.
    species: usize,
    numbered: bool,
    label: Option<usize>,
    position: usize,
    /// Numbers of a position; as many as there are, where nothing says how many.
    dimension: usize,
    /// A line has at least so many columns.
    total: usize,
}

impl Columns {
    fn of(comment: &Comment, dimension: usize) -> Result<Self, String> {
        let Some(properties) = comment.get("Properties") else {
            let total = 1 + dimension;
            let (species, numbered, label) = (0, false, None);
            return Ok(Self { species, numbered, label, position: 1, dimension: 3, total });
        };
        let wrong = || {
            let shown = shown(properties);
            format!("has Properties=`{shown}`, which should be like species:S:1:pos:R:3")
        };
        let parts: Vec<&str> = properties.split(':').collect();
        let (mut species, mut number, mut label, mut position) = (None, None, None, None);
        let mut total = 0usize;
        for part in parts.chunks(3) {
            let [name, kind, width] = part else { return Err(wrong()) };
            let width: usize =
                width.parse().ok().filter(|w| (1..=1000).contains(w)).ok_or_else(wrong)?;
            // The second names are those that ASE knows besides.
            let found = match (*name, *kind) {
                ("species" | "symbols", "S") if width == 1 => species.replace(total),
                ("Z" | "numbers", "I") if width == 1 => number.replace(total),
                ("label", "S") if width == 1 => label.replace(total),
                ("pos" | "positions", "R") if width == 3 || width == dimension => {
                    position.replace((total, width)).map(|(first, _)| first)
                }
                ("species" | "symbols" | "Z" | "numbers" | "pos" | "positions", _) => {
                    return Err(wrong())
                }
                _ => None,
            };
            if found.is_some() {
                return Err(wrong());
            }
            total += width;
        }
        let (position, dimension) = position.ok_or_else(wrong)?;
        let numbered = species.is_none();
        let species = species.or(number).ok_or_else(wrong)?;
        Ok(Self { species, numbered, label, position, dimension, total })
    }

    fn row<'a>(&self, line: &'a str) -> Result<Row<'a>, String> {
        let cells: Vec<&str> = line.split_whitespace().collect();
        if cells.len() < self.total {
            return Err(format!("has {} of {} columns", cells.len(), self.total));
        }
        let symbol = match (self.numbered, cells[self.species]) {
            (false, symbol) => Cow::from(symbol),
            (true, number) => {
                number.parse().ok().and_then(symbol).map(Cow::from).ok_or_else(|| {
                    format!("has the number `{}`, which is not of an element", shown(number))
                })?
            }
        };
        let label = self.label.map(|at| cells[at]);
        let position = cells[self.position..].iter().take(self.dimension).copied().collect();
        Ok(Row { symbol, label, position })
    }
}

/// The line of an atom.
struct Row<'a> {
    symbol: Cow<'a, str>,
    label: Option<&'a str>,
    position: Vec<&'a str>,
}

impl Row<'_> {
    /// What messages show and later frames are compared with.
    fn atom(&self) -> Atom {
        Atom { symbol: self.symbol.to_string(), label: self.label.map(str::to_string) }
    }

    fn check_same(&self, first: &Atom) -> Result<(), String> {
        let labels = self.label.zip(first.label.as_deref());
        let symbols = (&*self.symbol, &*first.symbol);
        match [Some(symbols), labels].into_iter().flatten().find(|(found, known)| found != known) {
            Some((found, known)) => Err(format!(
                "is `{}` and was `{}` in frame 0: the order of atoms must be the same in all \
                 frames",
                shown(found),
                shown(known)
            )),
            None => Ok(()),
        }
    }

    /// Appends the `d` coordinates in the target's unit, of which `unit` are one in the file.
    fn coordinates(&self, d: usize, unit: f64, positions: &mut Vec<f64>) -> Result<(), String> {
        for (axis, cell) in self.position.iter().enumerate() {
            let number: f64 = cell
                .parse()
                .map_err(|_| format!("has `{}`, which is not a number", shown(cell)))?;
            if !number.is_finite() {
                return Err(format!("has the coordinate {number}: remove or correct it"));
            }
            if axis < d {
                positions.push(number / unit);
            } else if number != 0.0 {
                return Err(format!("has z = {number} and the target is in a plane"));
            }
        }
        Ok(())
    }
}
