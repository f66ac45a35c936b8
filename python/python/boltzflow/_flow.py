"""A trained flow, and what it is for."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple, Union

import numpy as np
import numpy.typing as npt

from . import _boltzflow
from ._arguments import Array, number_of_threads, numbers, whole
from ._errors import RecipeError
from ._potential import Energy, as_energy
from ._samples import Estimate, Observable, Samples

if TYPE_CHECKING:
    from ._report import Verdict

_MOST_SAMPLES = 100_000_000


class Flow:
    """A trained flow: from `train`, or from the folder of a run by `load`.

    It draws independent configurations with exact weights. It does not change, so several threads
    may use it at once; what it returns does not depend on their number.

    Examples
    --------
    >>> import boltzflow
    >>> flow = boltzflow.load("runs/dw4_fab")
    >>> flow
    <Flow dw4: 4 particles in 2d, reverse ESS 86.8 %>
    >>> flow.log_prob(flow.sample(3).positions).shape
    (3,)
    """

    def __init__(self, flow: _boltzflow.Flow, energy: Any = None) -> None:
        self._flow = flow
        #: The name of each particle; empty where all are alike.
        self.names: Tuple[str, ...] = tuple(getattr(energy, "names", None) or flow.names)

    # What it is.

    @property
    def particles(self) -> int:
        """Number of particles."""
        return self._flow.system[0]

    @property
    def dimension(self) -> int:
        """Dimensions of space."""
        return self._flow.system[1]

    @property
    def augmented_copies(self) -> int:
        """Copies a of the positions that the flow has besides x."""
        return self._flow.augmented_copies

    @property
    def target(self) -> str:
        """Name of the target."""
        return self._flow.target

    @property
    def folder(self) -> Optional[str]:
        """The folder of its run, if it has one."""
        folder = self._flow.folder
        return None if folder is None else os.fspath(folder)

    @property
    def recipe(self) -> str:
        """The recipe with all defaults, as TOML."""
        return self._flow.recipe()

    @property
    def evaluation(self) -> Optional[Dict[str, Any]]:
        """The evaluation at the end of the training; the keys are those of `evaluate`."""
        found = self._flow.evaluation()
        return None if found is None else _read(found)

    @property
    def verdict(self) -> Optional["Verdict"]:
        """What that evaluation means, in words."""
        from ._report import Verdict

        found = self._flow.verdict()
        return None if found is None else Verdict(**json.loads(found))

    @property
    def metrics(self) -> Dict[str, Array]:
        """The history of the training as columns: ``pandas.DataFrame(flow.metrics)``.

        A value that was not computed in a row is NaN. `metrics_units` says what they are.

        >>> import boltzflow
        >>> metrics = boltzflow.load("runs/dw4_fab").metrics
        >>> metrics["step"][-1], metrics["reverse_ess"][-1] > 0.8
        (np.float64(2000.0), np.True_)
        """
        return {name: column for name, _, _, column in self._flow.metrics()}

    @property
    def metrics_units(self) -> Dict[str, str]:
        """Unit and meaning of each column of `metrics`."""
        return {
            name: f"{meaning} [{unit}]" if unit else meaning
            for name, unit, meaning, _ in self._flow.metrics()
        }

    # What it does.

    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        weights: str = "joint",
        draws: int = 20,
        threads: Optional[int] = None,
    ) -> Samples:
        """`count` independent samples with log weights and energies.

        The same call gives the same samples: use another `seed` for more of them.

        Parameters
        ----------
        count
            How many.
        seed
            Other samples with another seed; those of ``boltzflow sample --seed``.
        weights
            ``"joint"``, p(x) π(a|x)/q(x, a); ``"marginal"``, p(x)/q(x) with the copies a averaged
            out over `draws` draws, which is worth more and costs more; or ``"annealed"``, samples
            that are moved to the target by annealed importance sampling.
        """
        drawn = self._flow.sample(
            whole("count", count, 1, _MOST_SAMPLES),
            whole("seed", seed, 0, 2**64 - 1),
            weights,
            whole("draws", draws, 1, 100_000),
            number_of_threads(threads),
        )
        return Samples(*drawn, names=self.names)

    def log_prob(
        self,
        x: npt.ArrayLike,
        a: Optional[npt.ArrayLike] = None,
        *,
        draws: int = 20,
        seed: int = 0,
        threads: Optional[int] = None,
    ) -> Array:
        """The flow's log density in nats, [samples].

        With augmented copies `a` [samples, copies, particles, dimension] it is log q(x, a), and
        exact. Without, log q(x): the logarithm of a mean over `draws` draws of a, which is too
        low on average, less so for more draws. `x` [samples, particles, dimension] is moved such
        that its centre of mass is at the origin, and `a` along.
        """
        positions = self._positions("x", x)
        if a is None:
            return self._flow.log_prob(
                positions,
                whole("draws", draws, 1, 100_000),
                whole("seed", seed, 0, 2**64 - 1),
                number_of_threads(threads),
            )
        copies = numbers("a", a)
        samples, particles, dimension = positions.shape
        shape = (samples, self.augmented_copies, particles, dimension)
        if copies.ndim == 3 and self.augmented_copies == 1:
            copies = copies[:, None]
        if copies.shape != shape:
            raise RecipeError(f"`a` has the shape {list(copies.shape)}: use {list(shape)}", "a")
        joint = np.concatenate([positions[:, None], copies], axis=1)
        return self._flow.log_prob_joint(
            joint.reshape(samples, -1, dimension), number_of_threads(threads)
        )

    def evaluate(
        self,
        samples: Optional[int] = None,
        *,
        annealed: Optional[int] = None,
        marginal: bool = False,
        reference: Optional[npt.ArrayLike] = None,
        threads: Optional[int] = None,
    ) -> Dict[str, Any]:
        """Effective sample sizes, log Z and likelihood, as ``boltzflow evaluate --json``.

        Parameters
        ----------
        samples
            Samples of the flow (by default the recipe's).
        annealed
            How many samples are annealed (by default a tenth of those).
        marginal
            Whether to compute weights on x alone, too.
        reference
            Independent samples of the target [samples, particles, dimension] for the forward
            figures; by default the run's, if its recipe has some.

        Examples
        --------
        >>> import boltzflow
        >>> found = boltzflow.load("runs/dw4_fab").evaluate(2000, annealed=0)
        >>> found["reverse_ess"] > 0.8, abs(found["log_z"] - 29.667) < 0.1
        (True, True)
        """
        return _read(
            self._flow.evaluate(
                None if samples is None else whole("samples", samples, 2, _MOST_SAMPLES),
                None if annealed is None else whole("annealed", annealed, 0, _MOST_SAMPLES),
                bool(marginal),
                None if reference is None else self._positions("reference", reference),
                None,
                number_of_threads(threads),
            )
        )

    def estimate(
        self,
        function: Observable,
        count: int = 100_000,
        *,
        seed: int = 0,
        weights: str = "joint",
        draws: int = 20,
        threads: Optional[int] = None,
    ) -> Estimate:
        """The mean over the target of a function of positions, with its standard error.

        `function` gets positions [batch, particles, dimension] and returns a number or an array for
        each configuration.

        Examples
        --------
        >>> import boltzflow, numpy as np
        >>> flow = boltzflow.load("runs/dw4_fab")
        >>> radius = flow.estimate(lambda x: (x**2).sum((1, 2)) / 4, count=10_000)
        >>> bool(abs(radius.mean - 6.8) < 0.2 and radius.error < 0.05)
        True
        """
        drawn = self.sample(count, seed=seed, weights=weights, draws=draws, threads=threads)
        return drawn.mean(function)

    def reference(self, count: int, *, seed: int = 0, threads: Optional[int] = None) -> Samples:
        """`count` samples of the target by Monte Carlo without the flow.

        They have no weights. It takes a while: see ``boltzflow reference``.
        """
        drawn, populations = self._flow.reference(
            whole("count", count, 1, _MOST_SAMPLES),
            whole("seed", seed, 0, 2**64 - 1),
            number_of_threads(threads),
        )
        positions, _, energies = drawn
        return Samples(positions, None, energies, self.names, populations)

    def save(self, folder: Union[str, "os.PathLike[str]"]) -> None:
        """Writes the flow into a new folder, for `load` and the command line."""
        if not os.fspath(folder):
            raise RecipeError("`folder` is empty: name a new one", "folder")
        self._flow.save(os.fspath(folder))

    def __reduce__(self) -> Any:
        raise TypeError(
            "a flow cannot be pickled: write it by flow.save(folder), and open it there by "
            "boltzflow.load(folder)"
        )

    # How it looks.

    def figures(self, format: str = "png", *, threads: Optional[int] = None) -> Dict[str, bytes]:
        """All figures of the run by their names, as the bytes of PNG or SVG files.

        >>> import boltzflow
        >>> figures = boltzflow.load("runs/dw4_fab").figures("svg")
        >>> sorted(figures)
        ['energy', 'ess', 'log_weights', 'loss', 'pair_distances']
        """
        if format not in ("png", "svg"):
            raise RecipeError(f'`format` is {format!r}: use "png" or "svg"', "format")
        with tempfile.TemporaryDirectory() as folder:
            self._flow.draw(folder, number_of_threads(threads))
            found = {}
            for name in sorted(os.listdir(folder)):
                stem, _, ending = name.partition(".")
                if ending == format:
                    with open(os.path.join(folder, name), "rb") as file:
                        found[stem] = file.read()
        return found

    def plot(self, figure: str = "ess", ax: Optional[Any] = None) -> Any:
        """A figure drawn by matplotlib, which must be installed; returns its axes.

        `figure` is ``"ess"``, ``"loss"``, ``"energy"`` or ``"log_weights"``.
        """
        from ._report import plot

        return plot(self, figure, ax)

    def _repr_html_(self) -> str:
        from ._report import html

        return html(self)

    def __repr__(self) -> str:
        evaluation = self.evaluation
        worth = ""
        if evaluation is not None and evaluation["reverse_ess"] is not None:
            worth = f", reverse ESS {100 * evaluation['reverse_ess']:.1f} %"
        return f"<Flow {self.target}: {self.particles} particles in {self.dimension}d{worth}>"

    def _positions(self, name: str, x: npt.ArrayLike) -> Array:
        positions = numbers(name, x)
        if positions.ndim != 3 or positions.shape[1:] != self._flow.system:
            raise RecipeError(
                f"`{name}` has the shape {list(positions.shape)}: use [samples, {self.particles}, "
                f"{self.dimension}]",
                name,
            )
        if not np.isfinite(positions).all():
            raise RecipeError(f"`{name}` has numbers that are not finite", name)
        return positions


def load(folder: Union[str, "os.PathLike[str]"], energy: Optional[Energy] = None) -> Flow:
    """Opens the run in `folder`, of `train` or of ``boltzflow train``.

    A run on a Python function needs that again, as ``boltzflow.Potential(function, ...)``, since it
    is not in the folder. A target with a name is. With another energy of the same particles than
    that of the training, the flow weighs its samples for that one, and has no evaluation.

    >>> import boltzflow
    >>> boltzflow.load("runs/dw4_fab").target
    'dw4'
    """
    target = None if energy is None else as_energy(energy, None, 3, None, None, 1024)
    flow = _boltzflow.load(os.fspath(folder), target)
    if flow.is_other:
        warnings.warn(
            "this energy is not the one that the flow was trained on: the figures of its run are "
            "not shown, as they do not hold; flow.evaluate() makes new ones",
            stacklevel=2,
        )
    return Flow(flow, target)


def _read(evaluation: str) -> Dict[str, Any]:
    found: Dict[str, Any] = json.loads(evaluation)
    return found
