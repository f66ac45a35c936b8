//! The figures of a run.

use std::path::Path;

use crate::diagnostics::pair_distances;
use crate::error::Error;
use crate::evaluation::{draw_weighted, BackboneMap, Portrait, Spread};
use crate::parallel::team;
use crate::plot::{
    count, distance_label, distribution_figure, distributions_figure, ess_figure,
    log_weight_figure, loss_figure, map_figure, nll_figure, profile_figure, Distribution,
    EnergyUnit, Landscape,
};
use crate::random::Purpose;
use crate::samples::Samples;
use crate::work;

use super::reference::Announce;
use super::trained::Trained;

impl Trained {
    /// Draws the figures of the run into the folder `output`, each as SVG and PNG: of samples of
    /// the flow, and curves of the training if there are metrics of it.
    ///
    /// # Errors
    /// Those of drawing samples and of writing.
    pub fn draw(&self, output: &Path, announce: Announce) -> Result<(), Error> {
        let team = team();
        let made = if team.leads() { std::fs::create_dir_all(output) } else { Ok(()) };
        team.agree(made.map_err(|source| Error::Write { path: output.to_path_buf(), source }))?;
        let drawn = self.drawn_for_figures()?;
        let reference = self.reference(announce)?.map(|reference| self.hand(reference));
        if !team.leads() {
            return Ok(());
        }
        let name = self.name();
        let rows = self.metrics()?;
        let has_energy = self.target.potential.has_energy();
        if self.folder.is_some() || !rows.is_empty() {
            let from = self.recipe.flow.start_name();
            if has_energy {
                let title = format!("{name}: effective sample size");
                ess_figure(&rows, from.as_deref(), &title, output.join("ess"))?;
            }
            if rows.iter().any(|row| row.validation_nll.is_some()) || !has_energy {
                let title = format!("{name}: negative log-likelihood");
                let lowest = self.target.known.entropy;
                nll_figure(&rows, lowest, &title, output.join("nll"))?;
            }
            loss_figure(&rows, &format!("{name}: training loss"), output.join("loss"))?;
        }
        let (system, particles) = (self.problem.flow.system(), self.target.particles());
        let samples = count(drawn.count(system) as u64);
        if has_energy {
            log_weight_figure(
                &drawn.log_weights,
                &format!("{name}: log weights of {samples} samples"),
                output.join("log_weights"),
            )?;
            distribution_figure(
                &Distribution {
                    flow: &drawn.energies,
                    log_weights: &drawn.log_weights,
                    reference: reference.as_ref().map(|r| r.energies.as_slice()),
                },
                "energy U / kT",
                &format!("{name}: energies of {samples} samples"),
                output.join("energy"),
            )?;
        }
        let distances = reference.as_ref().map(|r| pair_distances(system, &r.positions));
        distribution_figure(
            &Distribution {
                flow: &pair_distances(system, &drawn.positions),
                log_weights: &drawn.log_weights,
                reference: distances.as_deref(),
            },
            &distance_label(particles.length_unit()),
            &format!("{name}: pair distances of {samples} samples"),
            output.join("pair_distances"),
        )?;
        match Portrait::new(&particles, &drawn, reference.as_ref()) {
            Some(portrait) => self.draw_molecule(&portrait, &drawn.log_weights, output),
            None => Ok(()),
        }
    }

    /// Figures of a molecule: a map of φ and ψ for each residue, `ramachandran_ALA2`, and
    /// `torsions`, `bonds` and `angles`.
    fn draw_molecule(
        &self,
        portrait: &Portrait,
        log_weights: &[f64],
        output: &Path,
    ) -> Result<(), Error> {
        let name = self.name();
        let unit = EnergyUnit::of(self.target.kilojoules_per_mole());
        for BackboneMap { label, phi, psi } in &portrait.maps {
            let reference = phi.reference.as_deref().zip(psi.reference.as_deref());
            let reference = reference.map(|(phi, psi)| [phi, psi]);
            let map = Landscape::map([&phi.flow, &psi.flow], log_weights, reference);
            let title = format!("{name}: backbone of {label}");
            let safe = label.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let path = output.join(format!("ramachandran_{safe}"));
            map_figure(&map, ["φ", "ψ"], unit, &title, path)?;
        }
        let profile = |spread: &Spread| {
            let reference = spread.reference.as_deref();
            (spread.label.clone(), Landscape::profile(&spread.flow, log_weights, reference))
        };
        let profiles: Vec<_> = portrait.torsions.iter().map(profile).collect();
        if !profiles.is_empty() {
            profile_figure(&profiles, unit, &format!("{name}: torsions"), output.join("torsions"))?;
        }
        let length = if portrait.length_unit.is_empty() { "length" } else { portrait.length_unit };
        for (spreads, file, title, of) in [
            (&portrait.bonds, "bonds", "bond lengths", length),
            (&portrait.angles, "angles", "bond angles", "degrees"),
        ] {
            let shown: Vec<_> = spreads
                .iter()
                .map(|Spread { label, flow, reference }| {
                    let reference = reference.as_deref();
                    (format!("{label} / {of}"), Distribution { flow, log_weights, reference })
                })
                .collect();
            if !shown.is_empty() {
                distributions_figure(&shown, &format!("{name}: {title}"), output.join(file))?;
            }
        }
        Ok(())
    }

    /// The samples that figures and reports show: those of the evaluation at the end of the
    /// training, so that they fit its effective sample size.
    ///
    /// # Errors
    /// [`Error::Evaluation`] if the potential fails for good.
    pub fn drawn_for_figures(&self) -> Result<Samples, Error> {
        let options = self.evaluation_options();
        let streams = (Purpose::Evaluation, options.step);
        let _work = work::begin("drawing samples for figures");
        let drawn = draw_weighted(&self.problem, &self.theta, streams, 0, options.samples)?;
        Ok(self.hand(drawn))
    }

    /// The name of its folder, else that of its target.
    pub(crate) fn name(&self) -> String {
        match self.folder.as_ref().and_then(|folder| folder.path().file_name()) {
            Some(name) => name.to_string_lossy().into(),
            None => self.target.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Registry;
    use crate::diagnostics::effective_sample_size;
    use crate::evaluation::EvaluationOptions;

    #[test]
    fn figures_show_the_draws_that_the_evaluation_rests_on() {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("runs/dw4_reverse_kl");
        let mut trained = Trained::open(run, &Registry::builtin()).unwrap();
        trained.recipe.evaluate.samples = 500;
        let options = EvaluationOptions { annealed_samples: 0, ..trained.evaluation_options() };
        let headline = trained.evaluate(None, options).unwrap().reverse_ess;
        let ess = |samples: &Samples| effective_sample_size(&samples.log_weights).fraction;
        assert_eq!(ess(&trained.drawn_for_figures().unwrap()), headline);
        assert_ne!(ess(&trained.sample(500).unwrap()), headline);
    }
}
