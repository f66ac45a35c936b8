"""Calculators of ASE as energy functions, in this process, and samples as ``ase.Atoms``.

https://ase-lib.org
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, List, Optional, Tuple

import numpy as np

from ._arguments import Array
from ._errors import RecipeError, TargetError
from ._potential import Potential as _Potential

if TYPE_CHECKING:
    from ._samples import Samples

__all__ = ["Potential", "to_atoms"]


class Potential(_Potential):
    """The energy of atoms by their calculator, at a temperature.

    Energies in eV become kT and forces gradients; lengths are in Å. Atoms of one element may be
    exchanged. The positions of `atoms` are a known structure, from which sampling may start.

    Parameters
    ----------
    atoms
        `ase.Atoms` with a calculator. A copy is evaluated; the calculator is shared.
    temperature_K
        In kelvin.
    trap
        Width in Å of a harmonic trap that keeps atoms together which no bonds do:
        U + Σ ‖x_i − x̄‖²/(2 width²). By default there is none.
    batch
        How many configurations are asked for at once.

    Examples
    --------
    Three argon atoms by ASE's Lennard-Jones potential:

    >>> import ase, ase.calculators.lj, boltzflow.ase
    >>> atoms = ase.Atoms("Ar3", [[0, 0, 0], [3.8, 0, 0], [1.9, 3.3, 0]])
    >>> atoms.calc = ase.calculators.lj.LennardJones(sigma=3.4, epsilon=0.0103, rc=100.0)
    >>> potential = boltzflow.ase.Potential(atoms, temperature_K=80, trap=3.0)
    >>> U, gradient = potential(atoms.positions[None])
    >>> U.shape, gradient.shape
    ((1,), (1, 3, 3))
    """

    def __init__(
        self,
        atoms: Any,
        temperature_K: float,
        *,
        trap: Optional[float] = None,
        batch: int = 64,
        name: Optional[str] = None,
    ) -> None:
        from ase import units

        if not hasattr(atoms, "get_chemical_symbols"):
            raise RecipeError(
                f"`atoms` is of the type {type(atoms).__name__}: use ase.Atoms", "atoms"
            )
        if atoms.calc is None:
            raise RecipeError("`atoms` has no calculator: set atoms.calc", "atoms")
        if np.any(atoms.pbc):
            raise RecipeError(
                "`atoms` is periodic: the flow is for molecules and clusters that hold together: "
                "use atoms.pbc = False",
                "atoms",
            )
        if atoms.constraints:
            raise RecipeError(
                "`atoms` has constraints, and every atom moves: del atoms.constraints",
                "atoms",
            )
        for argument, value in (("temperature_K", temperature_K), ("trap", trap)):
            if value is not None and not (_is_number(value) and 0 < float(value) < np.inf):
                raise RecipeError(f"`{argument}` is {value!r}: use a number over 0", argument)
        self.temperature_K = float(temperature_K)
        self._kT = units.kB * self.temperature_K
        self._trap = None if trap is None else float(trap)
        self._atoms = atoms.copy()
        self._atoms.calc = atoms.calc
        self._ask = _asked(self._atoms)
        super().__init__(
            self._energies,
            atoms.get_chemical_symbols(),
            3,
            structures=atoms.get_positions(),
            batch=batch,
            name=name or f"{atoms.get_chemical_formula()} at {self.temperature_K:g} K",
        )

    def _energies(self, x: Array) -> Tuple[Array, Array]:
        from ase.calculators.calculator import CalculationFailed

        energies, forces = np.empty(len(x)), np.empty(x.shape)
        for index, positions in enumerate(x):
            self._atoms.positions[:] = positions
            try:
                energies[index], forces[index] = self._ask()
            except CalculationFailed:
                # As for an overlap: this configuration has no energy.
                energies[index], forces[index] = np.inf, 0.0
        energies /= self._kT
        gradients = forces / -self._kT
        if self._trap is not None:
            from_centre = x - x.mean(axis=1, keepdims=True)
            energies += (from_centre**2).sum(axis=(1, 2)) / (2 * self._trap**2)
            gradients += from_centre / self._trap**2
        return energies, gradients


def _asked(atoms: Any) -> Callable[[], Tuple[Any, Any]]:
    """Energy and forces of `atoms` where they are.

    A calculator of ASE's own class is asked at once: no configuration comes twice, so comparing
    each with the last one would only take time.
    """
    from ase.calculators.calculator import Calculator, all_changes

    calculator = atoms.calc
    if not isinstance(calculator, Calculator):
        return lambda: (atoms.get_potential_energy(), atoms.get_forces())

    def ask() -> Tuple[Any, Any]:
        calculator.calculate(atoms, ["energy", "forces"], all_changes)
        results = calculator.results
        return results["energy"], results["forces"]

    return ask


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def to_atoms(samples: "Samples", symbols: Optional[Any] = None) -> List[Any]:
    """Samples as a list of `ase.Atoms`; see `Samples.to_ase`."""
    import ase

    if symbols is None:
        symbols = list(samples.names) or ["X"] * samples.positions.shape[1]
    positions: Any = samples.positions
    if positions.shape[2] < 3:
        flat = np.zeros((*positions.shape[:2], 3))
        flat[..., :positions.shape[2]] = positions
        positions = flat
    try:
        first = ase.Atoms(symbols, positions=positions[0] if len(positions) else None)
    except (KeyError, ValueError, TypeError) as error:
        raise TargetError(
            f"`symbols` is {symbols!r}, which ASE does not take: give an element for each of "
            f"{positions.shape[1]} particles",
            "symbols",
        ) from error
    found = []
    for index, x in enumerate(positions):
        atoms = first.copy()
        atoms.positions[:] = x
        if samples.log_weights is not None:
            atoms.info["log_weight"] = float(samples.log_weights[index])
        if samples.energies is not None:
            atoms.info["energy_kT"] = float(samples.energies[index])
        found.append(atoms)
    return found
