//! A recipe for a target that has none: what the target itself says, and what is known to train
//! well.
//!
//! A short sampling gives the lengths of the target, or its sites where it is a crystal, and a few
//! small steps give the time of a step; the rest is that of the recipes of the published results,
//! by the number of particles.

mod scales;
mod surroundings;

use std::path::Path;
use std::time::Instant;

use self::scales::Scales;
use self::surroundings::Surroundings;
use super::reference::time_to_draw;
use super::trial::{costs, Costs};
use crate::config::{Recipe, Target};
use crate::error::Error;
use crate::molecule::{angle, neighbours};
use crate::potential::Potential;
use crate::sampling::{is_molecule, reference_seconds, ReferenceOptions};

/// η over the least width of a coordinate: the noise should be as wide as what the flow has to
/// resolve. 0.13 for `lj13`, 0.27 for `dw4`.
const NOISE_WIDTHS: f64 = 1.2;
/// With fewer steps, a flow has fewer layers, down to [`LEAST_LAYERS`].
const ENOUGH_STEPS: f64 = 500.0;
const LEAST_LAYERS: usize = 4;
/// More steps than this do not pay.
const MOST_STEPS: f64 = 20_000.0;
/// Evaluations during the training; of a crystal, whose annealing takes long.
const EVALUATIONS: usize = 10;
const CRYSTAL_EVALUATIONS: usize = 3;
/// The part of the time for walkers to start, for reference samples, and for evaluations.
const START_SHARE: f64 = 0.2;
const REFERENCE_SHARE: f64 = 0.1;
const EVALUATION_SHARE: f64 = 0.15;
/// Samples of an evaluation, if there is time for as many; the last number is for crystals, whose
/// samples have many particles.
const SAMPLES: [usize; 5] = [10_000, 5000, 2000, 1000, 300];

/// Samples of a gradient step, and steps after each visit to the walkers.
const BATCH: usize = 256;
const UPDATES: usize = 8;
/// Walkers and reference samples, if there is time for as many.
const WALKERS: usize = 8192;
const REFERENCE: usize = 2000;

/// Those of a molecule, whose base density starts near enough for its draws to be taken.
const MOLECULE_WALKERS: usize = 4096;
const MOLECULE_BATCH: usize = 512;
const MOLECULE_UPDATES: usize = 4;
/// The peak of its learning rate up to so many steps; with more it falls as the square root of
/// their number, down to a least one.
const MOLECULE_RATE: f64 = 1e-3;
const MOLECULE_STEPS: f64 = 1500.0;
const LEAST_MOLECULE_RATE: f64 = 3e-4;
/// Its walkers start at so many times the temperature, where rare conformations are frequent, and
/// cool in this part of the training, or in so many steps.
const MOLECULE_TEMPERATURE: f64 = 3.0;
const COOLING_SHARE: f64 = 0.35;
const MOST_COOLING_STEPS: f64 = 500.0;
/// See [`WalkerOptions::hot_share`](crate::train::WalkerOptions::hot_share).
const HOT_SHARE: f64 = 0.3;

/// Those of a crystal, of which each sample has many particles; the soft core hardens in this part
/// of the training.
const CRYSTAL_BATCH: usize = 32;
const CRYSTAL_LAYERS: usize = 6;
const CORE_SHARE: f64 = 0.2;

/// A recipe that was chosen for a target.
#[derive(Debug, Clone)]
pub struct ChosenRecipe {
    /// The file, with what each choice rests on.
    pub text: String,
    /// Seconds that its training takes, about.
    pub seconds: f64,
}

/// Chooses a recipe for `target`, which it calls `name`, that trains for about `minutes` on this
/// machine as it is now; `made_by` is how to get it again. On several ranks it is chosen on one.
///
/// # Errors
/// [`Error::Parameter`] on `--minutes` where they are too few for a start; those of sampling and
/// training.
pub fn choose_recipe(
    target: &Target,
    name: &str,
    minutes: f64,
    made_by: &str,
) -> Result<ChosenRecipe, Error> {
    if !target.potential.has_energy() {
        let problem = format!(
            "{} has no energy: write a recipe with objective = \"max_likelihood\" and its data, \
             as docs/data.md shows",
            target.name
        );
        return Err(Error::parameter("TARGET", problem));
    }
    let begin = Instant::now();
    let seconds = 60.0 * minutes;
    let mut draft = Draft::of(target, name, made_by, seconds)?;
    draft.fit_samples(target, seconds)?;
    let (costs, overhead) = loop {
        let recipe = draft.recipe()?;
        let costs = costs(&recipe, target)?;
        if draft.shorten_walks(&costs) {
            continue;
        }
        let each = costs.evaluation * (draft.evaluations() + 1) as f64 / draft.samples as f64;
        let fits = |samples: &usize| each * *samples as f64 <= EVALUATION_SHARE * seconds;
        let numbers = match draft.kind {
            Kind::Crystal(_) => &SAMPLES[..],
            Kind::Particles(_) | Kind::Molecule => &SAMPLES[..SAMPLES.len() - 1],
        };
        draft.samples = numbers.iter().copied().find(fits).unwrap_or(numbers[numbers.len() - 1]);
        let reference = time_to_draw(&recipe, target)?.unwrap_or(0.0);
        let overhead = costs.start + reference + each * draft.samples as f64;
        let left = seconds - begin.elapsed().as_secs_f64() - overhead;
        draft.steps = (left / costs.step).clamp(50.0, MOST_STEPS);
        if draft.steps >= ENOUGH_STEPS || draft.layers <= LEAST_LAYERS {
            break (costs, overhead);
        }
        draft.layers = (draft.layers * 3 / 4).max(LEAST_LAYERS);
    };
    let text = draft.text(Some(&costs));
    Recipe::from_text(&text, Path::new(name))?;
    Ok(ChosenRecipe { text, seconds: overhead + costs.step * draft.steps })
}

/// What a recipe is for.
enum Kind {
    Particles(Scales),
    /// Its base density needs no lengths.
    Molecule,
    Crystal(Surroundings),
}

/// What is still open of a recipe.
struct Draft<'a> {
    name: &'a str,
    made_by: &'a str,
    kind: Kind,
    particles: usize,
    layers: usize,
    leapfrog: usize,
    steps: f64,
    walkers: Option<usize>,
    reference: usize,
    samples: usize,
}

impl<'a> Draft<'a> {
    fn of(target: &Target, name: &'a str, made_by: &'a str, seconds: f64) -> Result<Self, Error> {
        let particles = target.potential.system().particles();
        let kind = if let Some(surroundings) = Surroundings::of(&*target.potential)? {
            Kind::Crystal(surroundings)
        } else if starts_as_molecule(target, seconds)? {
            Kind::Molecule
        } else {
            Kind::Particles(Scales::of(target, seconds)?)
        };
        let (layers, leapfrog, walkers) = match kind {
            Kind::Crystal(_) => (CRYSTAL_LAYERS, 0, None),
            Kind::Molecule => (12, 0, Some(MOLECULE_WALKERS)),
            Kind::Particles(_) if particles <= 6 => (8, 10, Some(WALKERS)),
            Kind::Particles(_) => (16, 20, Some(WALKERS)),
        };
        Ok(Self {
            name,
            made_by,
            kind,
            particles,
            layers,
            leapfrog,
            steps: 1000.0,
            walkers,
            reference: REFERENCE,
            samples: SAMPLES[0],
        })
    }

    /// Samples of a gradient step, and steps after each visit to the walkers.
    fn batches(&self) -> [usize; 2] {
        match self.kind {
            Kind::Particles(_) => [BATCH, UPDATES],
            Kind::Molecule => [MOLECULE_BATCH, MOLECULE_UPDATES],
            Kind::Crystal(_) => [CRYSTAL_BATCH, 1],
        }
    }

    fn evaluations(&self) -> usize {
        match self.kind {
            Kind::Crystal(_) => CRYSTAL_EVALUATIONS,
            Kind::Particles(_) | Kind::Molecule => EVALUATIONS,
        }
    }

    /// As many walkers and reference samples as there is time for.
    fn fit_samples(&mut self, target: &Target, seconds: f64) -> Result<(), Error> {
        let potential = &target.potential;
        let time = |options| reference_seconds(potential.clone(), options);
        if let Kind::Crystal(_) = self.kind {
            // Its chains would take longer than the training to forget where they began.
            self.reference = 0;
            return Ok(());
        }
        if let Kind::Particles(_) = self.kind {
            let least = UPDATES * BATCH;
            self.walkers = affordable(WALKERS, least, START_SHARE * seconds, |walkers| {
                time(ReferenceOptions::starts(&**potential, walkers))
            })?;
        }
        self.reference =
            affordable(REFERENCE, REFERENCE / 8, REFERENCE_SHARE * seconds, |samples| {
                time(ReferenceOptions::of(&**potential, samples))
            })?
            .unwrap_or(0);
        Ok(())
    }

    /// Shortens the walks where energies take more than half of a step; returns whether it did.
    fn shorten_walks(&mut self, costs: &Costs) -> bool {
        let other = (costs.step - costs.energies).max(1e-9);
        let fits = (other / costs.energies * self.leapfrog as f64) as usize;
        if costs.energies <= 0.5 * costs.step || self.leapfrog <= 3 {
            return false;
        }
        self.leapfrog = fits.clamp(3, self.leapfrog - 1);
        true
    }

    fn recipe(&self) -> Result<Recipe, Error> {
        Recipe::from_text(&self.text(None), Path::new(self.name))
    }

    /// The section `[flow]`.
    fn flow(&self) -> String {
        let layers = self.layers;
        match &self.kind {
            Kind::Molecule => format!(
                "# Distances, angles and dihedral angles along the bonds, from a fit to samples \
                 on.\n[flow.base]\nkind = \"molecule\"\nlayers = {layers}\nwidth = 64\nbins = 2\n"
            ),
            Kind::Crystal(of) => format!(
                "[flow]\n\
                 # The least width of a coordinate with all others at their sites, {:.4}.\n\
                 augmentation_scale = {}\n\n\
                 # The harmonic crystal around the sites.\n\
                 [flow.base]\nkind = \"crystal\"\n\n\
                 [[flow.layers]]\n\
                 coupling = \"pairwise\"\n\
                 repeat = {layers}\nwidth = 32\nbasis = 16\nangular = 4\n\
                 # Between the shells of neighbours: a site sees {}.\n\
                 cutoff = {:.4}\n",
                of.stiffest,
                rounded(of.stiffest),
                of.neighbours,
                of.cutoff,
            ),
            Kind::Particles(scales) => self.flow_of_particles(scales),
        }
    }

    fn flow_of_particles(&self, scales: &Scales) -> String {
        let noise = rounded(NOISE_WIDTHS * scales.stiffest);
        let spread = rounded(scales.spread);
        let cutoff = rounded(1.15 * scales.largest);
        let basis = ((cutoff / (2.0 * noise)).ceil() as usize).clamp(8, 24);
        // Angles tell three particles apart where distances do not; few particles also gain by a
        // second message, which costs many too much time.
        let (width, more) = match self.particles {
            ..=2 => (24, ""),
            3..=6 => (24, "angular = 8\nmessage_passes = 2\n"),
            _ => (16, "angular = 4\n"),
        };
        format!(
            "[flow]\n\
             # Near the least width of a coordinate, {:.3} with all others held.\n\
             augmentation_scale = {noise}\n\
             # The standard deviation of a coordinate.\n\
             base_scale = {spread}\n\n\
             [[flow.layers]]\n\
             coupling = \"pairwise\"\n\
             repeat = {}\nwidth = {width}\nbasis = {basis}\n{more}\
             # One distance in a thousand is beyond {:.3}.\n\
             cutoff = {cutoff}\n",
            scales.stiffest, self.layers, scales.largest,
        )
    }

    /// The sections of the objective's own options.
    fn objective(&self, steps: usize) -> String {
        let step_size = match &self.kind {
            Kind::Particles(scales) => rounded(0.3 * scales.stiffest),
            Kind::Molecule => 0.02,
            Kind::Crystal(of) => {
                let Some([radius, last]) = of.core else { return String::new() };
                return format!(
                    "\n# Pairs nearer than this repel each other by a straight line, as draws of \
                     the first steps\n# overlap; no particles of the crystal come as near as the \
                     last radius.\n\
                     [train.reverse_kl.core]\nradius = {}\nfinal_radius = {}\nsteps = {}\n",
                    rounded(radius),
                    rounded(last),
                    (CORE_SHARE * steps as f64).ceil(),
                );
            }
        };
        let mut text = format!(
            "\n[train.fab]\n\
             initial_step_size = {step_size}\n\
             updates_per_annealing = {}\n\n\
             [train.fab.buffer]\nmin_batches = 16\nmax_batches = 128\n",
            self.batches()[1],
        );
        if let Some(count) = self.walkers {
            text += &format!(
                "\n# Chains on the target, from the reference sampler: Monte Carlo without a \
                 flow.\n[train.fab.walkers]\ncount = {count}\nstart = \"reference\"\nfrom_step = \
                 0\nleapfrog_steps = {}\n",
                self.leapfrog,
            );
            if let Kind::Molecule = self.kind {
                text += &format!(
                    "# Rare conformations are frequent where it is hot.\n\
                     start_temperature = {MOLECULE_TEMPERATURE}\ncooling_steps = {}\n\
                     hot_share = {HOT_SHARE}\n",
                    (COOLING_SHARE * steps as f64).ceil().min(MOST_COOLING_STEPS)
                );
            }
        }
        text
    }

    fn text(&self, costs: Option<&Costs>) -> String {
        let [batch, updates] = self.batches();
        let steps = rounded(self.steps) as usize;
        let ema = 1.0 - rounded(1.0 / (0.03 * (updates * steps) as f64)).clamp(5e-4, 0.05);
        let (from, objective) = match self.kind {
            Kind::Particles(_) | Kind::Molecule => ("a short sampling of the target", "fab"),
            Kind::Crystal(_) => ("the sites of the target", "reverse_kl"),
        };
        let (optimizer, peak) = match self.kind {
            Kind::Particles(_) => {
                ("natural", rounded((0.02 / self.particles as f64).clamp(5e-4, 3e-3)))
            }
            Kind::Molecule => {
                let rate = MOLECULE_RATE * (MOLECULE_STEPS / self.steps).sqrt();
                ("natural", rounded(rate.clamp(LEAST_MOLECULE_RATE, MOLECULE_RATE)))
            }
            Kind::Crystal(_) => ("soap", 4e-3),
        };
        let toml = |text: &str| toml::Value::String(text.to_string()).to_string();
        let time = costs.map_or(String::new(), |costs| {
            format!("           # each took {:.2} s on this machine", costs.step)
        });
        let mut text = format!(
            "# Chosen by\n#     {}\n# from {from}. docs/recipe.md of \
             boltzflow explains every key.\n\
             format = 1\ntarget = {}\nseed = 0\n\n{}\n\
             [train]\n\
             objective = \"{objective}\"\n\
             steps = {steps}{time}\n\
             batch_size = {batch}\n\
             optimizer = \"{optimizer}\"\n\
             learning_rate = {{ initial = {}, peak = {peak}, final = {}, warm_up_steps = 30 }}\n\
             ema_decay = {ema}\n{}",
            self.made_by,
            toml(self.name),
            self.flow(),
            rounded(0.05 * peak),
            rounded(0.005 * peak),
            self.objective(steps),
        );
        let every = (steps / self.evaluations()).max(1);
        text += &format!("\n[evaluate]\nevery_steps = {every}\nsamples = {}\n", self.samples);
        text += match (self.reference, &self.kind) {
            (0, Kind::Crystal(_)) => "# None: reverse KL needs no samples of the target.\n",
            (0, _) => "# No reference samples: they would not fit into the time.\n",
            _ => "",
        };
        text + &format!("reference_samples = {}\n", self.reference)
    }
}

/// Whether a flow begins with the density of a molecule: where no bonds are in line, whose dihedral
/// angles would mean nothing, and replica exchange can sample the target within a part of the time.
fn starts_as_molecule(target: &Target, seconds: f64) -> Result<bool, Error> {
    let potential = &target.potential;
    if !is_molecule(&**potential) || has_bonds_in_line(&**potential) {
        return Ok(false);
    }
    let start = ReferenceOptions::starts(&**potential, MOLECULE_WALKERS);
    Ok(reference_seconds(potential.clone(), start)? <= 2.0 * START_SHARE * seconds)
}

/// Whether two bonds of an atom of a structure are nearly in line, as of CO₂ or a nitrile.
fn has_bonds_in_line(potential: &dyn Potential) -> bool {
    const LEAST_DEGREES: f64 = 165.0;
    let bonded = neighbours(potential.system().particles(), potential.bonds());
    potential.structures().iter().any(|x| {
        bonded.iter().enumerate().any(|(b, around)| {
            let pairs = around
                .iter()
                .enumerate()
                .flat_map(|(k, a)| around[..k].iter().map(move |c| [*a, b, *c]));
            pairs.into_iter().any(|atoms| angle(x, 3, atoms) > LEAST_DEGREES)
        })
    })
}

/// The first of `most`, its half, and so on down to `least`, that takes at most `seconds`.
fn affordable(
    most: usize,
    least: usize,
    seconds: f64,
    time: impl Fn(usize) -> Result<f64, Error>,
) -> Result<Option<usize>, Error> {
    let mut count = most;
    while count >= least {
        if time(count)? <= seconds {
            return Ok(Some(count));
        }
        count /= 2;
    }
    Ok(None)
}

/// To two digits.
fn rounded(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return value;
    }
    let digit = 10f64.powf(value.log10().floor() - 1.0);
    // Through text, so that it is written as it reads.
    let rounded = (value / digit).round() * digit;
    format!("{rounded:.10}").parse().unwrap_or(rounded)
}
