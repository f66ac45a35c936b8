"""Training, and what it shows while it lasts."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, fields
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Union

import numpy.typing as npt

from . import _boltzflow
from ._arguments import number_of_threads, whole
from ._errors import RecipeError
from ._flow import Flow
from ._potential import Energy, as_energy

Path = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Progress:
    """What one step of a training did, for a callback."""

    #: Steps done, and steps in all.
    step: int
    steps: int
    loss: float
    learning_rate: float
    #: Mean acceptance of the chains, where there are some.
    acceptance: Optional[float]
    #: Of the training so far.
    train_seconds: float
    energy_evaluations: int
    #: The evaluation, after a step that has one: see `Flow.evaluate`.
    evaluation: Optional[Dict[str, Any]]
    #: What was done about a divergence, after a step that was taken for one.
    rollback: Optional[str]


def train(
    energy: Optional[Energy] = None,
    *,
    particles: Optional[Union[int, Sequence[str]]] = None,
    dimension: int = 3,
    species: Optional[Sequence[Any]] = None,
    structures: Optional[npt.ArrayLike] = None,
    batch: int = 1024,
    recipe: Optional[Union[Path, Mapping[str, Any]]] = None,
    seed: Optional[int] = None,
    threads: Optional[int] = None,
    output: Optional[Path] = None,
    force: bool = False,
    callback: Optional[Callable[[Progress], Any]] = None,
    progress: Optional[bool] = None,
    **options: Any,
) -> Flow:
    """Trains a flow on an energy function alone and returns it.

    Parameters
    ----------
    energy
        What to sample, exp(−U): a function ``f(x) -> (U, dU/dx)`` with positions ``x``
        [batch, particles, dimension], energies [batch] in kT and their gradients; a
        `boltzflow.Potential`, such as `boltzflow.ase.Potential`; the name of a target or the path
        of its file; or a dictionary with the keys of such a file. By default the recipe's target.
        It must not change under translation, rotation, reflection and exchange of like particles;
        `check` looks whether that is so.
    particles, dimension, species, structures, batch
        For a function: see `Potential`.
    recipe
        The path of a recipe, or a dictionary with its keys. Without one, every key has its default.
    seed
        Of every random number (by default the recipe's). The same seed gives the same flow, on any
        number of threads, and the one that ``boltzflow train`` gives.
    threads
        By default one for each core, or two for a function in Python: those that wait for it leave
        their core to others.
    output
        A folder for the run, with checkpoints. If it holds an unfinished run of this recipe, that
        run goes on. Without a folder all is kept in memory, and what is interrupted is lost.
    force
        Go on although keys of the recipe have changed that a run does not depend on.
    callback
        Called with a `Progress` after each step. An exception in it stops the training, with a
        checkpoint in `output`, and reaches you.
    progress
        Whether to show a line of progress: by default where tqdm is installed and standard error is
        a terminal or a notebook.
    **options
        Sections of the recipe, over those in `recipe`: ``train={"steps": 500}``,
        ``flow={...}``, ``evaluate={...}``, ``checkpoint={...}``.

    Returns
    -------
    Flow
        The trained flow.

    Raises
    ------
    RecipeError
        A wrong argument, or a wrong key or value of the recipe, with a suggestion.
    TargetError
        An energy function that returns something else than energies and gradients.
    KeyboardInterrupt
        Within a second of Ctrl-C; the checkpoint in `output` is from before the step it was at.

    Examples
    --------
    Three particles in the plane repel each other in a trap, U = Σ ½‖x_i‖² + Σ 3 exp(−r²):

    >>> import numpy as np, boltzflow
    >>> def energy(x):
    ...     d = x[:, :, None] - x[:, None]
    ...     u = 3 * np.exp(-(d**2).sum(-1))  # [batch, particles, particles]
    ...     x = x - x.mean(1, keepdims=True)
    ...     U = 0.5 * (x**2).sum((1, 2)) + 0.5 * (u.sum((1, 2)) - 9)
    ...     return U, x - 2 * (u[..., None] * d).sum(2)
    >>> flow = boltzflow.train(
    ...     energy, particles=3, dimension=2, seed=0,
    ...     train={"steps": 20, "batch_size": 64}, evaluate={"samples": 1000},
    ... )
    >>> samples = flow.sample(1000)
    >>> samples.positions.shape
    (1000, 3, 2)
    """
    target = None
    if energy is not None:
        target = as_energy(energy, particles, dimension, species, structures, batch)
    elif particles is not None or species is not None or structures is not None:
        raise RecipeError("`energy` is missing: `particles` and `species` are for one", "energy")
    if seed is not None:
        seed = whole("seed", seed, 0, 2**63 - 1)
    if output is not None and not os.fspath(output):
        raise RecipeError("`output` is empty: name a folder", "output")
    for key in _OF_TRAIN.intersection(options):
        raise RecipeError(
            f"`{key}` is no section of a recipe: use train={{{key!r}: {options[key]!r}}}", key
        )
    if callback is not None and not callable(callback):
        raise RecipeError("`callback` is not callable: use a function of a Progress", "callback")
    with _Shown(callback, progress) as shown:
        trained = _boltzflow.train(
            target,
            os.fspath(recipe) if isinstance(recipe, os.PathLike) else recipe,
            options,
            seed,
            number_of_threads(threads),
            None if output is None else os.fspath(output),
            bool(force),
            shown.hook,
        )
    return Flow(trained, target)


#: Keys that are looked for at the top.
_OF_TRAIN = {"objective", "steps", "batch_size", "optimizer", "learning_rate", "ema_decay"}


class _Shown:
    """The line of progress and the callback of one training."""

    def __init__(self, callback: Optional[Callable[[Progress], Any]], wanted: Optional[bool]):
        self.callback = callback
        self.bar = _bar(wanted)
        self.ess: Optional[float] = None
        self.hook = self if callback or self.bar is not None else None

    def __enter__(self) -> "_Shown":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, *values: Any) -> None:
        names = [field.name for field in fields(Progress)]
        named = dict(zip(names, values))
        if named["evaluation"] is not None:
            named["evaluation"] = json.loads(named["evaluation"])
        now = Progress(**named)
        if self.bar is not None:
            self.show(now)
        if self.callback is not None:
            self.callback(now)

    def wait(self, what: str, done: int, parts: int) -> None:
        """Shows other work than steps, such as the drawing of reference samples."""
        if self.bar is not None:
            how_far = f" {done}/{parts}" if parts else ""
            # There are no steps to count yet.
            self.bar.bar_format = "{desc} [{elapsed}]"
            self.bar.set_description_str(f"{what}{how_far}")

    def show(self, now: Progress) -> None:
        bar = self.bar
        bar.bar_format = None
        bar.set_description_str("boltzflow", refresh=False)
        if bar.total != now.steps:
            bar.reset(total=now.steps)
        if now.evaluation is not None:
            self.ess = now.evaluation["reverse_ess"]
        if self.ess is not None:
            bar.set_postfix_str(f"ESS {100 * self.ess:.1f} %, loss {now.loss:.3f}", refresh=False)
        bar.update(now.step - bar.n)


def _bar(wanted: Optional[bool]) -> Any:
    in_notebook = "ipykernel" in sys.modules
    if wanted is False or not (wanted or in_notebook or sys.stderr.isatty()):
        return None
    try:
        if in_notebook:
            from tqdm.auto import tqdm
        else:
            from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(desc="boltzflow", unit=" steps", leave=False, dynamic_ncols=True)
