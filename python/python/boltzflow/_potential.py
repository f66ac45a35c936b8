"""Energy functions: what they are given, what they must return, and what is checked."""

from __future__ import annotations

import operator
from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import numpy.typing as npt

from ._arguments import Array, numbers, whole
from ._errors import RecipeError, TargetError

#: Positions [batch, particles, dimension] to energies [batch] in kT and their gradients.
EnergyFunction = Callable[[Array], Tuple[Any, Any]]
#: What is sampled: a name or path, a dictionary as in a target's file, a potential or a function.
Energy = Union[str, Mapping[str, Any], "Potential", EnergyFunction]

_MOST_PARTICLES = 10_000


class Potential:
    """An energy function with the particles that it is about.

    Parameters
    ----------
    function
        ``function(x) -> (U, dU/dx)`` with positions ``x`` [batch, particles, dimension] as float64,
        energies ``U`` [batch] in kT and gradients [batch, particles, dimension], which are not
        forces. Arrays of NumPy, JAX or PyTorch and lists will do. An energy that is not finite
        stands for a configuration that cannot be.
    particles
        How many there are, or the name of each: like particles have one name and may be exchanged.
    dimension
        1, 2 or 3.
    species
        Which particles are alike, where `particles` is a number: a label for each.
    structures
        Known configurations [known, particles, dimension] from which sampling may start; a molecule
        needs one.
    batch
        How many configurations are given at once at most.
    name
        What figures call it.

    Examples
    --------
    Particles on springs to their centre:

    >>> import numpy as np, boltzflow
    >>> def springs(x):
    ...     x = x - x.mean(axis=1, keepdims=True)
    ...     return 0.5 * (x**2).sum(axis=(1, 2)), x
    >>> potential = boltzflow.Potential(springs, particles=3, dimension=2)
    >>> U, gradient = potential(np.zeros([5, 3, 2]))
    >>> U.shape, gradient.shape
    ((5,), (5, 3, 2))
    """

    def __init__(
        self,
        function: EnergyFunction,
        particles: Union[int, Sequence[str]],
        dimension: int = 3,
        *,
        species: Optional[Sequence[Any]] = None,
        structures: Optional[npt.ArrayLike] = None,
        batch: int = 1024,
        name: Optional[str] = None,
    ) -> None:
        if not callable(function):
            raise TargetError(
                f"`energy` is of the type {type(function).__name__}: use a function of positions, "
                "the name of a target, or a dictionary",
                "energy",
            )
        self.function = function
        self._tried: List[float] = []
        self.names, count = _particles(particles)
        self.particles = count
        self.dimension = whole("dimension", dimension, 1, 3)
        self.batch = whole("batch", batch, 1, 65536)
        self.name = str(name if name is not None else getattr(function, "__name__", "custom"))
        if species is not None and self.names:
            raise RecipeError(
                "`species` is given twice: `particles` has names already", "species"
            )
        self._species = _numbered(species if species is not None else self.names, count)
        self._system = (self.particles, self.dimension)
        self._structures = self._known(structures)

    def _known(self, structures: Optional[npt.ArrayLike]) -> List[List[float]]:
        if structures is None:
            return []
        known = numbers("structures", structures)
        if known.ndim == 2:
            known = known[None]
        if known.ndim != 3 or known.shape[1:] != self._system:
            raise RecipeError(
                f"`structures` has the shape {list(known.shape)}: use [known, {self.particles}, "
                f"{self.dimension}]",
                "structures",
            )
        if not np.isfinite(known).all():
            raise RecipeError("`structures` has numbers that are not finite", "structures")
        return [[float(v) for v in x.ravel()] for x in known]

    def __call__(self, x: npt.ArrayLike) -> Tuple[Array, Array]:
        """Energies [batch] in kT and gradients of positions [batch, particles, dimension]."""
        positions = numbers("x", x)
        if positions.ndim != 3 or positions.shape[1:] != self._system:
            raise RecipeError(
                f"`x` has the shape {list(positions.shape)}: use [batch, {self.particles}, "
                f"{self.dimension}]",
                "x",
            )
        return self._evaluate(positions)

    def _evaluate(self, x: Array) -> Tuple[Array, Array]:
        """What the function returns, as arrays of the right shape."""
        # The function may change its argument.
        shape = x.shape
        found = self.function(x)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            kind = f"{len(found)} values" if isinstance(found, (tuple, list)) else "one value"
            raise TargetError(
                f"`energy` returned {kind}: return the pair (U, dU/dx); jax.value_and_grad and "
                "torch.autograd.grad make the second from the first",
                "energy",
            )
        energies = _returned("energies", found[0])
        gradients = _returned("gradients", found[1])
        if energies.shape != shape[:1]:
            raise TargetError(
                f"`energy` returned energies of the shape {list(energies.shape)} for positions of "
                f"{list(shape)}: return one for each configuration, [{shape[0]}]",
                "energy",
            )
        if gradients.shape != shape:
            raise TargetError(
                f"`energy` returned gradients of the shape {list(gradients.shape)} for positions "
                f"of {list(shape)}: return dU/dx in the shape of x",
                "energy",
            )
        return energies, gradients

    @property
    def _fingerprint(self) -> List[float]:
        """Those of the configurations that it is tried on, which tell it from other functions."""
        if not self._tried:
            self._probe()
        return self._tried

    def _probe(self) -> None:
        """Tries the function on two configurations, twice together and once alone.

        What is seen here would be seen only after a while in training, or not at all.
        """
        x = np.random.default_rng(0).normal(size=(2, *self._system))
        if self._structures:
            x = 0.01 * x + np.reshape(self._structures[0], self._system)
        x -= x.mean(axis=1, keepdims=True)
        together, again = self._evaluate(x.copy()), self._evaluate(x.copy())
        alone = self._evaluate(x[:1].copy())
        for what, one, two, three in zip(("energy", "gradient"), together, again, alone):
            if not _alike(one, two):
                raise TargetError(
                    f"`energy` changes its result: the same configuration had another {what} the "
                    "second time. It must depend on nothing but the positions",
                    "energy",
                )
            if not _alike(one[:1], three):
                raise TargetError(
                    f"`energy` mixes configurations: the {what} of one depends on those that it "
                    "is evaluated with. Sum over particles, axes 1 and 2, not over the batch",
                    "energy",
                )
        self._tried = [float(u) for u in together[0]]

    def __repr__(self) -> str:
        particles = "particle" if self.particles == 1 else "particles"
        return f"<Potential {self.name}: {self.particles} {particles} in {self.dimension}d>"


def as_energy(
    energy: Energy,
    particles: Optional[Union[int, Sequence[str]]],
    dimension: int,
    species: Optional[Sequence[Any]],
    structures: Optional[npt.ArrayLike],
    batch: int,
) -> Any:
    """A name, a dictionary or a tried potential."""
    given = [
        name
        for name, value in (
            ("particles", particles), ("species", species), ("structures", structures)
        )
        if value is not None
    ]
    if hasattr(energy, "__fspath__"):
        energy = str(operator.methodcaller("__fspath__")(energy))
        if "/" not in energy:
            energy = f"./{energy}"
    if isinstance(energy, (str, Mapping, Potential)):
        if given:
            raise RecipeError(
                f"`{given[0]}` is for an energy function: {_what(energy)} has its own", given[0]
            )
        if isinstance(energy, Potential):
            energy._probe()
        return energy
    if callable(energy) and particles is None:
        raise RecipeError(
            "`particles` is missing: say how many there are, or the name of each", "particles"
        )
    potential = Potential(
        energy, particles if particles is not None else 0, dimension, species=species,
        structures=structures, batch=batch,
    )
    potential._probe()
    return potential


def _what(energy: Any) -> str:
    return {str: "a target's name", Potential: "a Potential"}.get(type(energy), "a dictionary")


def _alike(one: Array, two: Array) -> bool:
    """To the precision of float32, which many models have."""
    return bool(np.allclose(one, two, rtol=1e-4, atol=1e-4, equal_nan=True))


def _particles(particles: Any) -> Tuple[List[str], int]:
    """Names, if there are any, and how many particles there are."""
    if isinstance(particles, str):
        raise RecipeError(
            f"`particles` is {particles!r}: use a number, or a list with the name of each",
            "particles",
        )
    names: List[str] = []
    if isinstance(particles, np.ndarray) and particles.ndim == 0:
        particles = particles.item()
    if hasattr(particles, "__iter__"):
        names = [str(name) for name in particles]
        particles = len(names)
    return names, whole("particles", particles, 2, _MOST_PARTICLES)


def _numbered(labels: Any, count: int) -> List[int]:
    """A number for each kind of particle; nothing if all are alike."""
    try:
        labels = list(labels)
        kinds = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    except TypeError:
        raise RecipeError(
            f"`species` is {labels!r}: use a list with a label for each particle", "species"
        ) from None
    if labels and len(labels) != count:
        raise RecipeError(
            f"`species` has {len(labels)} labels for {count} particles: use one for each",
            "species",
        )
    return [kinds[label] for label in labels] if len(kinds) > 1 else []


def _returned(what: str, values: Any) -> Array:
    """`values` as float64; no text, objects or complex numbers."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"their type is {array.dtype}")
        return np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TargetError(
            f"`energy` returned {what} that are no array of numbers: {error}", "energy"
        ) from error
