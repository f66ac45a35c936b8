//! Writing of extended XYZ: <https://github.com/libAtoms/extxyz>.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::samples::Samples;
use crate::system::System;

/// Symbols of the elements up to radon.
const ELEMENTS: &str =
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga \
     Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu \
     Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn";

/// Frames of one system.
pub(super) struct Frames {
    system: System,
    /// The column `species` of each particle, which ASE wants to be an element.
    species: Vec<String>,
    /// The column `label` with their own names, where those are no elements.
    labels: Option<Vec<String>>,
    text: String,
}

impl Frames {
    /// `labels` are the names of the particles' species; none when all are alike.
    pub fn new(system: System, labels: &[String]) -> Self {
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
            // Stand-ins, so that programs which know elements only tell them apart.
            let stand_in = |label: &String| {
                let kind = kinds.iter().position(|kind| *kind == label).unwrap_or(0);
                ELEMENTS.split(' ').nth(kind).unwrap_or("X").to_string()
            };
            (labels.iter().map(stand_in).collect(), Some(labels.to_vec()))
        };
        Self { system, species, labels, text: String::new() }
    }

    /// Writes the frames of a batch. Numbers come back exactly: they are written as the shortest text
    /// that does.
    pub fn write(&mut self, batch: &Samples, out: &mut impl Write) -> io::Result<()> {
        let (n, d) = (self.system.particles(), self.system.dimension());
        let label = if self.labels.is_some() { ":label:S:1" } else { "" };
        for (index, x) in batch.positions.chunks_exact(n * d).enumerate() {
            let text = &mut self.text;
            text.clear();
            // Writing to a String cannot fail.
            let _ = write!(text, "{n}\nProperties=species:S:1:pos:R:3{label}");
            for (name, values) in [("energy", &batch.energies), ("log_weight", &batch.log_weights)]
            {
                if let Some(value) = values.as_ref().and_then(|values| values.get(index)) {
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
