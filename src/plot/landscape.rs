//! Figures of molecules: maps of two angles and profiles of one as free energies −ln p, and
//! distributions of several kinds of bonds or angles beside each other.

use std::path::Path;

use super::distribution::{density_panel, outlines, Distribution, Outlines};
use super::draw::save;
use super::histogram::weights;
use super::sheet::{Axis, Cells, Color, Curve, Panel, Scale, Sheet, Stroke, Ticks};
use crate::error::Error;

/// Bins of a map along each angle, 8° each.
pub const MAP_BINS: usize = 45;
/// Bins of a profile, 6° each.
const PROFILE_BINS: usize = 60;
/// Free energies are shown up to this, in kT.
const HIGHEST: f64 = 10.0;

/// An energy unit for free energies.
#[derive(Debug, Clone, Copy)]
pub struct EnergyUnit {
    /// "kT" or "kJ/mol".
    pub name: &'static str,
    /// kT in it.
    pub kt: f64,
}

impl EnergyUnit {
    /// kJ/mol where kT is so many, else kT.
    pub fn of(kilojoules_per_mole: Option<f64>) -> Self {
        match kilojoules_per_mole {
            Some(kt) => Self { name: "kJ/mol", kt },
            None => Self { name: "kT", kt: 1.0 },
        }
    }
}

/// −ln p in equal bins of angles from −180° to 180°, in kT, 0 at the least; `None` in empty bins.
/// Of several `angles`, the last one's bins run fastest. `weights` are relative, one for each
/// sample; none are equal ones.
fn free_energies(angles: &[&[f64]], weights: Option<&[f64]>, bins: usize) -> Vec<Option<f64>> {
    let mut sums = vec![0.0; bins.pow(angles.len() as u32)];
    let samples = angles.first().map_or(0, |values| values.len());
    for sample in 0..samples {
        let bin = |degrees: f64| {
            let place = (degrees + 180.0) / 360.0 * bins as f64;
            place.is_finite().then(|| (place.max(0.0) as usize).min(bins - 1))
        };
        let place = angles
            .iter()
            .try_fold(0, |place, values| Some(place * bins + bin(*values.get(sample)?)?));
        if let Some(sum) = place.and_then(|place| sums.get_mut(place)) {
            *sum += weights.map_or(1.0, |w| w.get(sample).copied().unwrap_or(0.0));
        }
    }
    let most = sums.iter().copied().fold(0.0, f64::max);
    sums.into_iter().map(|p| (p > 0.0).then(|| (most / p).ln())).collect()
}

/// An angle, or two, on samples of the flow, on the same by weight, and on reference samples.
#[derive(Debug, Clone)]
pub struct Landscape {
    /// What the flow draws.
    pub flow: Vec<Option<f64>>,
    /// By weight; empty if there are none.
    pub reweighted: Vec<Option<f64>>,
    /// Of reference samples; empty if there are none.
    pub reference: Vec<Option<f64>>,
}

impl Landscape {
    fn new(
        flow: &[&[f64]],
        log_weights: &[f64],
        reference: Option<&[&[f64]]>,
        bins: usize,
    ) -> Self {
        Self {
            flow: free_energies(flow, None, bins),
            reweighted: match log_weights {
                [] => Vec::new(),
                _ => free_energies(flow, Some(&weights(log_weights)), bins),
            },
            reference: reference.map_or(Vec::new(), |angles| free_energies(angles, None, bins)),
        }
    }

    /// Of two angles in [`MAP_BINS`] along each; the second one's bins run fastest.
    pub fn map(flow: [&[f64]; 2], log_weights: &[f64], reference: Option<[&[f64]; 2]>) -> Self {
        let reference = reference.as_ref().map(|both| &both[..]);
        Self::new(&flow, log_weights, reference, MAP_BINS)
    }

    /// Of one angle, in 60 bins.
    pub fn profile(flow: &[f64], log_weights: &[f64], reference: Option<&[f64]>) -> Self {
        let reference = reference.map(|values| [values]);
        let reference = reference.as_ref().map(|one| &one[..]);
        Self::new(&[flow], log_weights, reference, PROFILE_BINS)
    }

    /// The highest free energy in kT that is worth a colour.
    pub fn top(&self) -> f64 {
        let flow = self.flow.iter().filter(|_| self.reweighted.is_empty());
        let all = self.reweighted.iter().chain(flow).chain(&self.reference).flatten().copied();
        all.fold(1.0, f64::max).min(HIGHEST)
    }
}

/// Maps of two dihedral angles named `names`, side by side: of the flow, reweighted, and of
/// reference samples.
///
/// # Errors
/// [`Error::Write`]; [`Error::Run`] when the drawing itself fails.
pub fn map_figure(
    map: &Landscape,
    names: [&str; 2],
    unit: EnergyUnit,
    title: &str,
    path: impl AsRef<Path>,
) -> Result<(), Error> {
    let top = map.top();
    let panel = |name: &str, energies: &[Option<f64>]| {
        let share = |energy: &Option<f64>| energy.map(|e| e / top).filter(|share| *share <= 1.0);
        let values = energies.iter().map(share).collect();
        Panel {
            x: Axis::new(format!("{} / degrees", names[0]), (-180.0, 180.0), Ticks::Degrees),
            y: Axis::new(format!("{} / degrees", names[1]), (-180.0, 180.0), Ticks::Degrees),
            cells: Some(Cells { name: name.to_string(), bins: MAP_BINS, values }),
            curves: Vec::new(),
            empty: "no samples",
        }
    };
    let maps =
        [("flow", &map.flow), ("flow, reweighted", &map.reweighted), ("reference", &map.reference)];
    let known = maps.into_iter().filter(|(_, map)| !map.is_empty());
    let panels = known.map(|(name, map)| panel(name, map)).collect();
    let label = format!("free energy −ln p / {}", unit.name);
    let scale = Some(Scale { label, top: top * unit.kt });
    save(&Sheet { title: title.to_string(), scale, panels, ..Sheet::default() }, path.as_ref())
}

/// The curve of a profile's `energies` in kT up to `top`, in pieces without gaps: (degrees, free
/// energy).
pub fn pieces(energies: &[Option<f64>], top: f64) -> Vec<Vec<(f64, f64)>> {
    let centre = |bin: usize| -180.0 + (bin as f64 + 0.5) * 360.0 / PROFILE_BINS as f64;
    let shown = |energy: &Option<f64>| energy.filter(|energy| *energy <= top);
    let points: Vec<Option<(f64, f64)>> =
        energies.iter().enumerate().map(|(bin, e)| Some((centre(bin), shown(e)?))).collect();
    let pieces = points.split(Option::is_none).filter(|piece| !piece.is_empty());
    pieces.map(|piece| piece.iter().flatten().copied().collect()).collect()
}

/// Free-energy profiles of dihedral angles, each with its name.
///
/// # Errors
/// [`Error::Write`]; [`Error::Run`] when the drawing itself fails.
pub fn profile_figure(
    profiles: &[(String, Landscape)],
    unit: EnergyUnit,
    title: &str,
    path: impl AsRef<Path>,
) -> Result<(), Error> {
    let panel = |(name, profile): &(String, Landscape)| {
        let top = profile.top();
        let curves = [
            ("reference", Color::Black, &profile.reference),
            ("flow", Color::Orange, &profile.flow),
            ("flow, reweighted", Color::Blue, &profile.reweighted),
        ];
        let curves = curves.into_iter().flat_map(|(label, color, energies)| {
            pieces(energies, top).into_iter().map(move |piece| Curve {
                label: label.to_string(),
                color,
                stroke: Stroke::Line,
                points: piece.into_iter().map(|(x, y)| (x, y * unit.kt)).collect(),
            })
        });
        Panel {
            x: Axis::new(format!("{name} / degrees"), (-180.0, 180.0), Ticks::Degrees),
            y: Axis::new(
                format!("free energy −ln p / {}", unit.name),
                (0.0, 1.02 * top * unit.kt),
                Ticks::Plain,
            ),
            cells: None,
            curves: curves.collect(),
            empty: "no samples",
        }
    };
    let panels = profiles.iter().map(panel).collect();
    save(&Sheet { title: title.to_string(), panels, ..Sheet::default() }, path.as_ref())
}

/// Distributions of several observables in panels, each with its name and unit.
///
/// # Errors
/// [`Error::Parameter`] when values are not a multiple of weights, [`Error::Write`];
/// [`Error::Run`] when the drawing itself fails.
pub fn distributions_figure(
    observables: &[(String, Distribution<'_>)],
    title: &str,
    path: impl AsRef<Path>,
) -> Result<(), Error> {
    let panel = |(label, observable): &(String, Distribution<'_>)| {
        let Outlines { range, reference, flow, reweighted, .. } = outlines(observable)?;
        let curve = |label: &str, color, stroke, points| Curve {
            label: label.to_string(),
            color,
            stroke,
            points,
        };
        let curves = vec![
            curve("reference", Color::Black, Stroke::Area, reference),
            curve("flow", Color::Orange, Stroke::Line, flow),
            curve("flow, reweighted", Color::Blue, Stroke::Line, reweighted),
        ];
        Ok(density_panel(label, range, curves))
    };
    let panels = observables.iter().map(panel).collect::<Result<_, Error>>()?;
    save(&Sheet { title: title.to_string(), panels, ..Sheet::default() }, path.as_ref())
}
