"""Weighted samples, and averages over them."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from typing import Any, Callable, List, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from . import _boltzflow
from ._arguments import Array, numbers, whole
from ._errors import RecipeError, TargetError

#: A function of positions [batch, particles, dimension] with a value [batch, ...] of each.
Observable = Callable[[Array], npt.ArrayLike]

#: Configurations that a function of positions is given at once.
_BATCH = 16_384


@dataclass(frozen=True)
class Estimate:
    """A weighted mean with its standard error; both are arrays where the function returns some."""

    mean: Any
    error: Any
    #: How many equally weighted samples it is worth.
    effective_samples: float
    #: Samples where the function was not a number; they are left out.
    undefined: int = 0
    #: Whether it rests on a few large weights and cannot be relied on.
    rests_on_few_samples: bool = False

    def __str__(self) -> str:
        mark = " (!) rests on few samples" if self.rests_on_few_samples else ""
        if self.undefined:
            mark += f" (without {self.undefined} samples where it is not a number)"
        if np.ndim(self.mean) == 0:
            return f"{self.mean:.6g} ± {self.error:.2g}{mark}"
        return f"{self.mean} ± {self.error}{mark}"


@dataclass(frozen=True, repr=False)
class Samples:
    """Configurations with their log weights and energies.

    A sample counts as ``exp(log_weights)``; without weights all count the same. Means over the
    target are weighted means: `mean` computes them with errors.

    Examples
    --------
    >>> import boltzflow, numpy as np
    >>> flow = boltzflow.load("runs/dw4_fab")
    >>> samples = flow.sample(2000, seed=1)
    >>> samples.positions.shape, samples.log_weights.shape, samples.energies.shape
    ((2000, 4, 2), (2000,), (2000,))
    >>> 0.8 < samples.ess < 1.0  # the share of equally weighted samples that they are worth
    True
    >>> distance = lambda x: np.linalg.norm(x[:, 0] - x[:, 1], axis=1)
    >>> estimate = samples.mean(distance)
    >>> bool(abs(estimate.mean - 4.5) < 0.5 and estimate.error < 0.1)
    True
    """

    #: [samples, particles, dimension], with the centre of mass at the origin.
    positions: Array
    #: [samples]; minus infinity for weight zero. None where all count the same.
    log_weights: Optional[Array] = None
    #: U/kT, [samples]; infinite where there is none. None where it is not known.
    energies: Optional[Array] = None
    #: The name of each particle; empty where all are alike.
    names: Sequence[str] = field(default=())
    #: The independent population that each is from, [samples]: those of one may depend on each
    #: other, and errors of means count that. None where all are independent.
    populations: Optional[npt.NDArray[np.uintp]] = None

    def __post_init__(self) -> None:
        positions = numbers("positions", self.positions)
        if positions.ndim != 3:
            raise RecipeError(
                f"`positions` has the shape {list(positions.shape)}: use [samples, particles, "
                "dimension]",
                "positions",
            )
        object.__setattr__(self, "positions", positions)
        for name in ("log_weights", "energies"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, self._column(name, numbers(name, values)))
        if self.populations is not None:
            of = self._column("populations", np.asarray(self.populations))
            object.__setattr__(self, "populations", of.astype(np.uintp))

    def _column(self, name: str, values: Any) -> Any:
        if values.shape != (len(self.positions),):
            raise RecipeError(
                f"`{name}` has the shape {list(values.shape)}: use one number for each of the "
                f"{len(self.positions)} samples",
                name,
            )
        return values

    def __len__(self) -> int:
        return len(self.positions)

    def __repr__(self) -> str:
        n, particles, dimension = self.positions.shape
        worth = "" if self.log_weights is None else f", worth {self.ess * n:.0f}"
        return f"<{n} samples{worth}: {particles} particles in {dimension}d>"

    def _logs(self) -> Array:
        return np.zeros(len(self)) if self.log_weights is None else self.log_weights

    @property
    def weights(self) -> Array:
        """Weights [samples] whose sum is 1."""
        logs = self._logs()
        largest = logs.max(initial=-np.inf)
        if not np.isfinite(largest):
            return np.zeros(len(self))
        weights = np.exp(logs - largest)
        normalised: Array = weights / weights.sum()
        return normalised

    @property
    def ess(self) -> float:
        """Effective sample size, (Σw)²/(N Σw²): 1 where all weights are the same."""
        return _boltzflow.effective_sample_size(self._logs())[0] / max(len(self), 1)

    @property
    def log_z(self) -> Tuple[float, float]:
        """log Z by the mean weight, and its standard error."""
        return _boltzflow.log_mean_exp(self._logs())

    def mean(self, function: Union[Observable, npt.ArrayLike]) -> Estimate:
        """The mean over the target of a function of positions, or of values [samples, ...].

        The function gets positions [batch, particles, dimension] and returns a number, or an array
        of the same shape, for each of them. The error is the standard error of the weighted mean.
        """
        values = self._values(function)
        logs = self._logs()
        columns = values.reshape(len(self), -1)
        defined = np.isfinite(columns)
        of = self.populations
        found = [
            _boltzflow.reweighted_mean(
                logs[known],
                np.ascontiguousarray(column[known]),
                None if of is None else np.ascontiguousarray(of[known], dtype=np.uintp),
            )
            for column, known in zip(columns.T, defined.T)
        ]
        shape = values.shape[1:]
        mean = np.array([mean for mean, _ in found]).reshape(shape)
        error = np.array([error for _, error in found]).reshape(shape)
        size, few = _boltzflow.effective_sample_size(logs)
        return Estimate(
            mean if shape else float(mean),
            error if shape else float(error),
            size,
            int((~defined.all(axis=1) & np.isfinite(logs)).sum()),
            few,
        )

    def _values(self, function: Union[Observable, npt.ArrayLike]) -> Array:
        if not callable(function):
            values = np.asarray(function)
        else:
            parts: List[Any] = []
            for first in range(0, len(self), _BATCH):
                x = self.positions[first:first + _BATCH]
                part = np.asarray(function(x))
                if part.shape[:1] != x.shape[:1]:
                    raise TargetError(
                        f"`function` returned an array of the shape {list(part.shape)} for "
                        f"positions of {list(x.shape)}: return a value for each configuration, "
                        f"[{len(x)}, ...]",
                        "function",
                    )
                parts.append(part)
            values = np.concatenate(parts) if parts else np.zeros(0)
        if values.dtype.kind not in "fiub" or values.shape[:1] != (len(self),):
            raise TargetError(
                f"`function` gave {values.dtype} of the shape {list(values.shape)}: numbers of the "
                f"shape [{len(self)}, ...] are needed",
                "function",
            )
        return values.astype(np.float64)

    def resample(self, count: int, seed: int = 0) -> "Samples":
        """`count` samples without weights: copies of these, more of those with larger weights.

        Systematic resampling: sample i gets within one of `count` times its weight copies.
        """
        count = whole("count", count, 1, 100_000_000)
        seed = whole("seed", seed, 0, 2**64 - 1)
        weights = self.weights
        if not weights.any():
            raise RecipeError(
                "`samples` have no finite weight: there is nothing to draw", "samples"
            )
        places = (np.random.default_rng(seed).random() + np.arange(count)) / count
        chosen = np.searchsorted(np.cumsum(weights), places).clip(0, len(self) - 1)
        energies = None if self.energies is None else self.energies[chosen]
        return Samples(self.positions[chosen], None, energies, self.names)

    def save(self, path: Union[str, "os.PathLike[str]"]) -> None:
        """Writes them into a file by its ending: .npz, .npy, .csv, .xyz, .extxyz, .pdb, .dcd.

        MDTraj and MDAnalysis read the last two. Positions are in the target's unit of length.
        """
        empty = np.zeros(0)
        _boltzflow.write_samples(
            os.fspath(path),
            list(self.names),
            self.positions,
            empty if self.log_weights is None else self.log_weights,
            empty if self.energies is None else self.energies,
        )

    def to_ase(self, symbols: Optional[Any] = None) -> List[Any]:
        """A list of `ase.Atoms`, with weight and energy in ``atoms.info``.

        `symbols` are those of ASE, such as ``"CH4"`` or a list of elements; by default the names of
        the particles. Lengths are taken for Å, so the target's unit should be that.
        """
        from .ase import to_atoms

        return to_atoms(self, symbols)

    def to_arviz(self, draws: Optional[int] = None, seed: int = 0) -> Any:
        """Samples without weights as ArviZ's `InferenceData` or `DataTree`.

        ``posterior.x`` is [chain, draw, particle, dimension] of one chain of `draws` resampled
        draws, by default as many as these are worth; ``sample_stats.lp`` is −U/kT.
        """
        arviz: Any = importlib.import_module("arviz")
        worth = max(int(self.ess * len(self)), 1)
        drawn = self if self.log_weights is None else self.resample(draws or worth, seed)
        groups = {"posterior": {"x": drawn.positions[None]}}
        if drawn.energies is not None:
            groups["sample_stats"] = {"lp": -drawn.energies[None]}
        dims = {"x": ["particle", "dimension"]}
        if int(arviz.__version__.split(".")[0]) >= 1:
            return arviz.from_dict(groups, dims=dims)
        return arviz.from_dict(**groups, dims=dims)
