//! Everything that carries over from one training step to the next, by name: what a checkpoint
//! holds and a roll-back restores.
//!
//! Every part of the state lists its arrays and values once, in a function `list`; the [`Walk`]
//! that goes over the list saves them or loads them.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::sampling::StepSizes;

/// An array of a training.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// In single precision.
    Single(Vec<f32>),
    /// In double precision.
    Double(Vec<f64>),
}

/// Arrays and values by name, apart from the state that they came from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Saved {
    /// Arrays, such as the flow's parameters.
    pub arrays: BTreeMap<String, Array>,
    /// Small values, such as counters.
    pub values: BTreeMap<String, serde_json::Value>,
}

impl Saved {
    /// What `list` lists.
    ///
    /// # Errors
    /// Those of `list`.
    pub fn of(list: impl FnOnce(&mut Walk<'_>) -> Result<(), String>) -> Result<Self, String> {
        let mut saved = Self::default();
        list(&mut Walk::Save(&mut saved))?;
        Ok(saved)
    }
}

/// A walk over the list of all that continues. Errors say in words what is missing or does not fit.
#[derive(Debug)]
pub enum Walk<'a> {
    /// Copies everything from the state.
    Save(&'a mut Saved),
    /// Replaces everything in the state.
    Load(&'a Saved),
}

impl Walk<'_> {
    /// Whether the state is replaced.
    pub fn is_loading(&self) -> bool {
        matches!(self, Self::Load(_))
    }

    /// An array that always has as many entries as it has now.
    pub fn single(&mut self, name: &str, values: &mut [f32]) -> Result<(), String> {
        match self {
            Self::Save(saved) => {
                saved.arrays.insert(name.into(), Array::Single(values.to_vec()));
            }
            Self::Load(saved) => match saved.arrays.get(name) {
                Some(Array::Single(found)) if found.len() == values.len() => {
                    values.copy_from_slice(found);
                }
                Some(Array::Single(found)) => {
                    return Err(format!(
                        "array `{name}` has {} entries and should have {} for this recipe",
                        found.len(),
                        values.len()
                    ));
                }
                other => return Err(unfit(name, other, "f32")),
            },
        }
        Ok(())
    }

    /// An array of any length, which the loading code must check.
    pub fn double(&mut self, name: &str, values: &mut Vec<f64>) -> Result<(), String> {
        match self {
            Self::Save(saved) => {
                saved.arrays.insert(name.into(), Array::Double(values.clone()));
            }
            Self::Load(saved) => match saved.arrays.get(name) {
                Some(Array::Double(found)) => values.clone_from(found),
                other => return Err(unfit(name, other, "f64")),
            },
        }
        Ok(())
    }

    /// A value of any type; its numbers are finite.
    pub fn value<T: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        value: &mut T,
    ) -> Result<(), String> {
        let wrong = |e: serde_json::Error| format!("value `{name}` does not fit: {e}");
        match self {
            Self::Save(saved) => {
                saved.values.insert(name.into(), serde_json::to_value(value).map_err(wrong)?);
            }
            Self::Load(saved) => {
                let found = saved.values.get(name).ok_or(format!("has no value `{name}`"))?;
                *value = T::deserialize(found).map_err(wrong)?;
            }
        }
        Ok(())
    }

    /// Something saved earlier, whose names get a prefix in place of the part that they belong to;
    /// on loading, `inner` has the names.
    pub fn nested(&mut self, prefix: &str, inner: &mut Saved) -> Result<(), String> {
        let name = |key: &str| format!("{prefix}.{}", key.rsplit('.').next().unwrap_or(key));
        for (key, array) in &mut inner.arrays {
            match array {
                Array::Single(values) => self.single(&name(key), values)?,
                Array::Double(values) => self.double(&name(key), values)?,
            }
        }
        inner.values.iter_mut().try_for_each(|(key, value)| self.value(&name(key), value))
    }
}

fn unfit(name: &str, found: Option<&Array>, wanted: &str) -> String {
    match found {
        None => format!("has no array `{name}`"),
        Some(_) => format!("array `{name}` is not of type {wanted}"),
    }
}

/// What continues for one objective alone, such as its replay buffer.
///
/// # Examples
/// An average that checkpoints keep:
/// ```
/// use boltzflow::train::{ObjectiveState, Saved, Walk};
///
/// #[derive(Debug, Clone, Default, PartialEq)]
/// struct Average(f64);
///
/// impl ObjectiveState for Average {
///     fn list(&mut self, walk: &mut Walk<'_>) -> Result<(), String> {
///         walk.value("average", &mut self.0)
///     }
///
///     fn boxed(&self) -> Box<dyn ObjectiveState> {
///         Box::new(self.clone())
///     }
/// }
///
/// let saved = Saved::of(|walk| Average(0.5).list(walk))?;
/// let mut loaded = Average::default();
/// loaded.list(&mut Walk::Load(&saved))?;
/// assert_eq!(loaded, Average(0.5));
/// # Ok::<(), String>(())
/// ```
pub trait ObjectiveState: Any + Debug + Send + Sync {
    /// Lists what is saved, but for what [`list_restored`](Self::list_restored) lists.
    ///
    /// # Errors
    /// In words, what does not fit.
    fn list(&mut self, walk: &mut Walk<'_>) -> Result<(), String>;

    /// Lists what is saved and what a roll-back restores: by default nothing.
    ///
    /// # Errors
    /// In words, what does not fit.
    fn list_restored(&mut self, _: &mut Walk<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Discards what a divergence has spoiled: by default nothing.
    fn discard(&mut self) {}

    /// Step sizes of annealing from the flow to the target, if the objective adapts some.
    fn step_sizes(&self) -> Option<&StepSizes> {
        None
    }

    /// A copy.
    fn boxed(&self) -> Box<dyn ObjectiveState>;
}

/// An objective that has no state of its own.
impl ObjectiveState for () {
    fn list(&mut self, _: &mut Walk<'_>) -> Result<(), String> {
        Ok(())
    }

    fn boxed(&self) -> Box<dyn ObjectiveState> {
        Box::new(())
    }
}

impl Clone for Box<dyn ObjectiveState> {
    fn clone(&self) -> Self {
        self.as_ref().boxed()
    }
}
