"""Train a sampler of exp(−U) from the energy function U alone.

`train` takes an energy function of NumPy, JAX or PyTorch, a calculator of ASE or the name of a
target, and returns a `Flow`, which draws independent configurations with exact weights. Energies
are in kT, lengths in the target's unit, and positions [samples, particles, dimension].

>>> import boltzflow
>>> flow = boltzflow.train(recipe="runs/dw4_brief.toml", train={"steps": 30})
>>> samples = flow.sample(1000)
>>> samples.positions.shape
(1000, 4, 2)
"""

from . import _boltzflow
from ._check import Finding, check
from ._errors import BoltzflowError, FileError, RecipeError, RunError, TargetError
from ._flow import Flow, load
from ._potential import Potential
from ._recipe import ChosenRecipe, choose_recipe
from ._reference import energies, reference, targets
from ._report import Verdict
from ._samples import Estimate, Samples
from ._train import Progress, train

__version__: str = _boltzflow.__version__

__all__ = [
    "BoltzflowError",
    "ChosenRecipe",
    "Estimate",
    "FileError",
    "Finding",
    "Flow",
    "Potential",
    "Progress",
    "RecipeError",
    "RunError",
    "Samples",
    "TargetError",
    "Verdict",
    "check",
    "choose_recipe",
    "energies",
    "load",
    "reference",
    "targets",
    "train",
]
