//! Which generalized Born model a force is: GBSAOBCForce, or a CustomGBForce in the words in which
//! OpenMM writes HCT, OBC1, OBC2, GBn and GBn2.

use super::born::{Atom, Born, Neck};
use super::nonbonded::COULOMB;
use super::table::{tables, Table};
use super::xml::Element;
use crate::error::Error;

/// Reads a GBSAOBCForce: OBC2, with a surface term.
pub(super) fn read_obc(force: Element<'_>, count: usize) -> Result<Born, Error> {
    const OFFSET: f64 = 0.009;
    const PROBE: f64 = 0.14;
    let mut atoms = Vec::new();
    for atom in force.particles(count)? {
        let reduced = atom.number("r")? - OFFSET;
        if reduced <= 0.0 {
            return atom.refuse("has a radius of at most 0.009 nm");
        }
        atoms.push(Atom {
            charge: atom.number("q")?,
            reduced,
            scaled: atom.number("scale")? * reduced,
            offset: OFFSET,
            rescaling: Some([1.0, -0.8, 4.85]),
        });
    }
    let area = force.number("surfaceAreaEnergy")? * 4.0 * std::f64::consts::PI;
    Ok(Born {
        atoms,
        coulomb: COULOMB,
        inverse_dielectrics: [
            1.0 / force.number("soluteDielectric")?,
            1.0 / force.number("solventDielectric")?,
        ],
        screening: 0.0,
        surface: (area != 0.0).then_some([area, PROBE]),
        neck: None,
        engulfs: true,
    })
}

const INTEGRAL: &str =
    "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*\
                        log(L/U)/r),0);U=r+sr2;L=max(or1,D);D=abs(r-sr2)";
const NECK: &str = "Ivdw+neckScale*Ineck;Ineck=step(radius1+radius2+neckCut-r)*getm0(radindex1,\
                    radindex2)/(1+100*(r-getd0(radindex1,radindex2))^2+0.3*1000000*(r-getd0(\
                    radindex1,radindex2))^6);Ivdw={integral};radius1=or1+offset;radius2=or2+offset;\
                    neckScale={};neckCut={};offset={}";
const PSI: &str = ";psi=I*or;radius=or+offset;offset={}";
const CONSTANTS: &str = ";solventDielectric={};soluteDielectric={};kappa={};offset={}";

/// What the expressions of the computed values and energy terms of a CustomGBForce are, without
/// blanks and each with its type; `None` unless all are those of a known model.
pub(super) fn recognize(force: Element<'_>, count: usize) -> Result<Option<Born>, Error> {
    let listed = |list: &str, item: &'static str| -> Result<Vec<(String, String)>, Error> {
        let read = |element: Element<'_>| {
            let expression = element.text("expression")?;
            let bare = expression.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            Ok((bare.trim_end_matches(';').to_string(), element.text("type")?.to_string()))
        };
        force.items(list, item)?.into_iter().map(read).collect()
    };
    let values = listed("ComputedValues", "Value")?;
    let terms = listed("EnergyTerms", "Term")?;
    let [(integral, of_pairs), (radius, of_atoms)] = &values[..] else { return Ok(None) };
    let names: Vec<_> = force.items("ComputedValues", "Value")?;
    let named = |k: usize, name: &str| names[k].optional("name") == Some(name);
    if of_pairs != "2" || of_atoms != "0" || !named(0, "I") || !named(1, "B") {
        return Ok(None);
    }
    let neck = match integral == INTEGRAL {
        true => None,
        false => match holes(&NECK.replace("{integral}", INTEGRAL), integral)[..] {
            [scale, cut, offset] => Some([scale, cut, offset]),
            _ => return Ok(None),
        },
    };
    let Some((rescaling, offset)) = rescaling(radius) else { return Ok(None) };
    let Some(energy) = Energy::of(&terms) else { return Ok(None) };
    let known = Words { neck, rescaling, offset, energy };
    known.model(force, count)
}

/// How the Born radius follows from the integral.
enum Rescaling {
    None,
    Shared([f64; 3]),
    /// Named parameters of each atom.
    Own,
}

/// By the expression of B, and the offset of radii, 0 where it plays no part.
fn rescaling(expression: &str) -> Option<(Rescaling, f64)> {
    if expression == "1/(1/or-I)" {
        return Some((Rescaling::None, 0.0));
    }
    let with =
        |argument: &str| holes(&format!("1/(1/or-tanh({argument})/radius){PSI}"), expression);
    if let [alpha, gamma, offset] = with("{}*psi+{}*psi^3")[..] {
        return Some((Rescaling::Shared([alpha, 0.0, gamma]), offset));
    }
    if let [beta, gamma, offset] = with("psi-{}*psi^2+{}*psi^3")[..] {
        return Some((Rescaling::Shared([1.0, -beta, gamma]), offset));
    }
    if let [alpha, beta, gamma, offset] = with("{}*psi-{}*psi^2+{}*psi^3")[..] {
        return Some((Rescaling::Shared([alpha, -beta, gamma]), offset));
    }
    match with("alpha*psi-beta*psi^2+gamma*psi^3")[..] {
        [offset] => Some((Rescaling::Own, offset)),
        _ => None,
    }
}

/// The energy terms.
struct Energy {
    coulomb: f64,
    solvent: f64,
    solute: f64,
    screening: f64,
    surface: Option<[f64; 2]>,
    offset: f64,
}

impl Energy {
    /// Two of charges, one of single atoms and one of pairs, and at most one of the surface.
    fn of(terms: &[(String, String)]) -> Option<Self> {
        let (mut single, mut pairs, mut surface) = (None, None, None);
        for (expression, kind) in terms {
            let charges = |salt: bool, with: &str, of: &str| -> Option<[f64; 5]> {
                let screen = if salt { format!("exp(-kappa*{of})") } else { "1".into() };
                let law = format!(
                    "-{with}{{}}*(1/soluteDielectric-{screen}/solventDielectric)*{}{CONSTANTS}",
                    if of == "B" {
                        "charge^2/B"
                    } else {
                        "charge1*charge2/f;f=sqrt(r^2+B1*B2*exp(-r^2/(4*B1*B2)))"
                    }
                );
                let [k, solvent, solute, kappa, offset] = holes(&law, expression)[..] else {
                    return None;
                };
                (salt || kappa == 0.0).then_some([k, solvent, solute, kappa, offset])
            };
            let area = holes(
                &format!("{{}}*(radius+{{}})^2*(radius/B)^6;radius=or+offset{CONSTANTS}"),
                expression,
            );
            let place = match kind.as_str() {
                "0" if area.len() == 6 => {
                    if surface.replace([area[0], area[1], area[5]]).is_some() {
                        return None;
                    }
                    continue;
                }
                "0" => (&mut single, charges(false, "0.5*", "B").or(charges(true, "0.5*", "B"))?),
                "2" => (&mut pairs, charges(false, "", "f").or(charges(true, "", "f"))?),
                _ => return None,
            };
            if place.0.replace(place.1).is_some() {
                return None;
            }
        }
        let [coulomb, solvent, solute, screening, offset] = single?;
        // Both have the same constants, or it is no model that is known.
        (pairs? == single?).then_some(())?;
        let surface_offset = surface.map_or(offset, |[_, _, offset]| offset);
        Some(Self {
            coulomb,
            solvent,
            solute,
            screening,
            surface: surface.map(|[area, probe, _]| [area, probe]),
            offset: surface_offset,
        })
    }
}

/// A recognised model.
struct Words {
    /// Scale, cut, offset.
    neck: Option<[f64; 3]>,
    rescaling: Rescaling,
    offset: f64,
    energy: Energy,
}

impl Words {
    fn model(self, force: Element<'_>, count: usize) -> Result<Option<Born>, Error> {
        let names: Vec<&str> = force
            .items("PerParticleParameters", "Parameter")?
            .iter()
            .map(|parameter| parameter.text("name"))
            .collect::<Result<_, _>>()?;
        let globals = force.items("GlobalParameters", "Parameter")?;
        let exclusions = force.items("Exclusions", "Exclusion")?;
        let place = |name: &str| names.iter().position(|known| *known == name);
        let (Some(charge), Some(reduced), Some(scaled)) =
            (place("charge"), place("or"), place("sr"))
        else {
            return Ok(None);
        };
        let own = match self.rescaling {
            Rescaling::Own => match (place("alpha"), place("beta"), place("gamma")) {
                (Some(alpha), Some(beta), Some(gamma)) => Some([alpha, beta, gamma]),
                _ => return Ok(None),
            },
            _ => None,
        };
        // The radius of the neck, of the rescaling and of the surface is one.
        let near = |a: f64| (a - self.energy.offset).abs() < 1e-12;
        let offsets = self.neck.map(|[_, _, offset]| offset).into_iter();
        let rescaled = !matches!(self.rescaling, Rescaling::None);
        let mut offsets = offsets.chain(rescaled.then_some(self.offset));
        if !globals.is_empty() || !exclusions.is_empty() || !offsets.all(near) {
            return Ok(None);
        }
        let mut atoms = Vec::new();
        let mut indices = Vec::new();
        for particle in force.particles(count)? {
            let number = |place: usize| particle.number(&format!("param{}", place + 1));
            let atom = Atom {
                charge: number(charge)?,
                reduced: number(reduced)?,
                scaled: number(scaled)?,
                offset: self.energy.offset,
                rescaling: match (&self.rescaling, own) {
                    (Rescaling::Shared(all), _) => Some(*all),
                    (_, Some([alpha, beta, gamma])) => {
                        Some([number(alpha)?, -number(beta)?, number(gamma)?])
                    }
                    _ => None,
                },
            };
            if atom.reduced <= 0.0 {
                return particle.refuse("has a radius `or` that is not over 0");
            }
            atoms.push(atom);
            if let Some(place) = place("radindex") {
                indices.push(number(place)?);
            }
        }
        let neck = match self.neck {
            None => None,
            Some([scale, cut, _]) => {
                let tables = tables(force)?;
                let named = |name: &str| tables.iter().find(|(known, _)| known == name);
                let (Some((_, d0)), Some((_, m0))) = (named("getd0"), named("getm0")) else {
                    return Ok(None);
                };
                let all = |table: &Table| -> Option<Vec<f64>> {
                    let pairs = indices.iter().flat_map(|i| indices.iter().map(move |j| [*i, *j]));
                    pairs.map(|pair| table.at(&pair)).collect()
                };
                let (Some(distance), Some(height)) = (all(d0), all(m0)) else {
                    return force.refuse("has a `radindex` that is not in its tables");
                };
                if indices.len() != count {
                    return Ok(None);
                }
                Some(Neck { scale, cut, distance, height })
            }
        };
        Ok(Some(Born {
            atoms,
            coulomb: self.energy.coulomb,
            inverse_dielectrics: [1.0 / self.energy.solute, 1.0 / self.energy.solvent],
            screening: self.energy.screening,
            surface: self.energy.surface,
            neck,
            engulfs: false,
        }))
    }
}

/// The numbers that stand in `text` where `pattern` has `{}`; none if it is not of that pattern.
fn holes(pattern: &str, text: &str) -> Vec<f64> {
    let mut numbers = Vec::new();
    let mut rest = text;
    let mut parts = pattern.split("{}");
    let Some(tail) = parts.next().and_then(|first| rest.strip_prefix(first)) else {
        return Vec::new();
    };
    rest = tail;
    for part in parts {
        // A number has no letters but the e of its exponent.
        let end = match part.chars().next() {
            None => rest.len(),
            Some(_) => match rest.find(part) {
                Some(end) => end,
                None => return Vec::new(),
            },
        };
        let Ok(number) = rest[..end].parse::<f64>() else { return Vec::new() };
        numbers.push(number);
        rest = &rest[end + part.len()..];
    }
    if rest.is_empty() {
        numbers
    } else {
        Vec::new()
    }
}
