//! The `[train]` section of a recipe, and the list of objectives that it may name.

use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use toml::{Table, Value};

use super::fab::FabOptions;
use super::max_likelihood::MaxLikelihoodOptions;
use super::problem::Problem;
use super::reverse_kl::ReverseKlOptions;
use super::state::DescentOptions;
use super::trainer::{ObjectiveOptions, Trainer};
use crate::error::Error;

/// How the flow is trained: `[train]`. The objective has its own options in a section of its name,
/// such as `[train.fab]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainOptions {
    /// What is minimised, with its own options (default "fab").
    pub objective: Objective,
    /// What all objectives share; in a recipe, the keys of `[train]` itself.
    pub descent: DescentOptions,
}

/// Declares the objectives: a line gives the name in recipes, the variant and its options.
macro_rules! objectives {
    ($($(#[$about:meta])* $key:literal => $name:ident($options:ty),)*) => {
        /// What is minimised. A recipe says `objective = "fab"` and has the options in
        /// `[train.fab]`.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub enum Objective {
            $($(#[$about])* #[serde(rename = $key)] $name($options),)*
        }

        /// The names in recipes.
        const NAMES: &[&str] = &[$($key),*];

        impl Objective {
            /// The name in recipes.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => $key,)* }
            }

            /// The options of the objective.
            pub fn options(&self) -> &dyn ObjectiveOptions {
                match self { $(Self::$name(options) => options,)* }
            }

            fn read(name: &str, section: Value) -> Result<Self, String> {
                match name {
                    $($key => section.try_into().map(Self::$name).map_err(|e| within(name, e)),)*
                    _ => {
                        let known = NAMES.join("`, `");
                        let problem = format!("unknown variant `{name}`, expected `{known}`");
                        Err(within("objective", problem))
                    }
                }
            }
        }
    };
}

objectives! {
    /// The α-divergence ∫ p²/q (α = 2), estimated by annealed importance sampling.
    "fab" => Fab(FabOptions),
    /// KL(flow ‖ target) on samples of the flow.
    "reverse_kl" => ReverseKl(ReverseKlOptions),
    /// KL(data ‖ flow) on samples from elsewhere.
    "max_likelihood" => MaxLikelihood(MaxLikelihoodOptions),
}

impl Default for Objective {
    fn default() -> Self {
        Self::Fab(FabOptions::default())
    }
}

impl TrainOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Parameter`] with the full key and what would be right.
    pub fn validate(&self) -> Result<(), Error> {
        self.descent.validate()?;
        self.objective.options().validate(&self.descent)
    }

    /// The trainer of these options; `read` gives the samples of a file, [samples, particles,
    /// dimension].
    ///
    /// # Errors
    /// Those of `read`, and of what the objective makes of its data.
    pub fn trainer(
        &self,
        problem: &Problem,
        read: &dyn Fn(&Path) -> Result<Vec<f64>, Error>,
    ) -> Result<Box<dyn Trainer>, Error> {
        self.objective.options().trainer(&self.descent, problem, read)
    }
}

/// An error in the form of `toml`, which names the keys around it line by line.
fn within(key: &str, error: impl std::fmt::Display) -> String {
    format!("{}\nin `{key}`\n", error.to_string().trim_end())
}

impl<'de> Deserialize<'de> for TrainOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let objective = match table.remove("objective") {
            None => Objective::default().name().to_string(),
            Some(Value::String(name)) => name,
            Some(other) => {
                let problem = format!("invalid type: {}, expected a string", other.type_str());
                return Err(D::Error::custom(within("objective", problem)));
            }
        };
        let section = table.remove(&objective).unwrap_or_else(|| Table::new().into());
        let objective = Objective::read(&objective, section).map_err(D::Error::custom)?;
        if let Some(name) = NAMES.iter().find(|name| table.contains_key(**name)) {
            return Err(D::Error::custom(format!(
                "the section [train.{name}] is not used by this `objective`: remove it or change \
                 the objective to \"{name}\""
            )));
        }
        let descent = Value::Table(table).try_into().map_err(|error: toml::de::Error| {
            let error = error.to_string();
            // The keys that were taken out are known as well.
            let known = format!(", `objective`, `{}`\n", NAMES.join("`, `"));
            let unknown_here = error.starts_with("unknown field") && !error.contains("\nin `");
            D::Error::custom(if unknown_here { error.replacen('\n', &known, 1) } else { error })
        })?;
        Ok(Self { objective, descent })
    }
}

impl Serialize for TrainOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// As it is written.
        #[derive(Serialize)]
        struct Section<'a> {
            objective: &'static str,
            #[serde(flatten)]
            descent: &'a DescentOptions,
            #[serde(flatten)]
            options: &'a Objective,
        }
        let Self { objective, descent } = self;
        Section { objective: objective.name(), descent, options: objective }.serialize(serializer)
    }
}
