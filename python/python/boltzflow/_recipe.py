"""A recipe that is chosen for an energy."""

from __future__ import annotations

import json
from typing import Any, Dict, Optional, Sequence, Union

import numpy.typing as npt

from . import _boltzflow
from ._arguments import number_of_threads, positive
from ._potential import Energy, as_energy


class ChosenRecipe(Dict[str, Any]):
    """The keys of a recipe, for ``train(energy, recipe=…)``; they may be changed before."""

    #: The recipe as a file, with what each choice rests on.
    text: str
    #: That training takes, about.
    seconds: float

    def __init__(self, keys: Dict[str, Any], text: str, seconds: float):
        super().__init__(keys)
        self.text = text
        self.seconds = seconds


def choose_recipe(
    energy: Energy,
    *,
    minutes: float = 10.0,
    particles: Optional[Union[int, Sequence[str]]] = None,
    dimension: int = 3,
    species: Optional[Sequence[Any]] = None,
    structures: Optional[npt.ArrayLike] = None,
    batch: int = 1024,
    threads: Optional[int] = None,
) -> ChosenRecipe:
    """Chooses a recipe for an energy, whose training takes about so many minutes.

    Lengths come from a short sampling of the energy, and the number of steps from the measured time
    of one, as in ``boltzflow train TARGET --minutes``. The other arguments are those of `train`.

    >>> import boltzflow
    >>> recipe = boltzflow.choose_recipe("dw4", minutes=0.2)
    >>> recipe["train"]["objective"]
    'fab'
    >>> "Chosen by" in recipe.text
    True
    >>> flow = boltzflow.train("dw4", recipe=recipe, train={"steps": 5})
    """
    target = as_energy(energy, particles, dimension, species, structures, batch)
    name = target if isinstance(target, str) else "custom"
    text, keys, seconds = _boltzflow.choose_recipe(
        target, name, positive("minutes", minutes), number_of_threads(threads)
    )
    return ChosenRecipe(json.loads(keys), text, seconds)
