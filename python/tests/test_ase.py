"""Calculators of ASE in this process."""

import numpy as np
import pytest

ase = pytest.importorskip("ase")

from ase import units  # noqa: E402
from ase.calculators.calculator import CalculationFailed  # noqa: E402
from ase.calculators.lj import LennardJones  # noqa: E402
from ase.constraints import FixAtoms  # noqa: E402

import boltzflow.ase  # noqa: E402
from energies import TINY  # noqa: E402

KELVIN = 60.0


def argon(symbols="Ar4", **options):
    atoms = ase.Atoms(symbols, np.random.default_rng(0).normal(scale=3, size=(4, 3)))
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.0103, rc=200.0, **options)
    return atoms


def test_energies_are_those_of_the_built_in_potential():
    """Lennard-Jones in reduced units, ε = 0.0103 eV at 60 K."""
    potential = boltzflow.ase.Potential(argon(), temperature_K=KELVIN)
    x = np.random.default_rng(1).normal(scale=4, size=(20, 4, 3))
    depth = 0.0103 / (units.kB * KELVIN)
    U, gradient = boltzflow.energies(
        {
            "kind": "formula", "particles": 4, "dimension": 3,
            "pair": f"4*{depth!r}*((3.4/r)^12 - (3.4/r)^6)", "external": "0*r_com",
        },
        x,
    )
    ours, slope = boltzflow.energies(potential, x)
    # ASE shifts the pair energy to zero at the cutoff.
    assert np.allclose(ours, U, atol=1e-6, rtol=1e-8) and np.allclose(slope, gradient, rtol=1e-8)
    warm = boltzflow.ase.Potential(argon(), temperature_K=2 * KELVIN)
    assert np.allclose(2 * warm(x)[0], ours)


def test_three_species_are_trained_and_come_back():
    potential = boltzflow.ase.Potential(argon("ArKrArXe"), temperature_K=KELVIN, trap=3.0)
    assert potential.names == ["Ar", "Kr", "Ar", "Xe"] and potential._species == [0, 1, 0, 2]
    flow = boltzflow.train(potential, **TINY)
    atoms = flow.sample(5).to_ase()
    assert atoms[0].get_chemical_formula() == "Ar2KrXe" and "log_weight" in atoms[0].info


def test_a_failed_calculation_is_no_energy():
    class Fails(LennardJones):
        def calculate(self, atoms, properties, changes):
            if atoms.positions[0, 0] > 0:
                raise CalculationFailed("no convergence")
            super().calculate(atoms, properties, changes)

    atoms = argon()
    atoms.calc = Fails(sigma=3.4, epsilon=0.0103, rc=200.0)
    x = np.random.default_rng(1).normal(scale=4, size=(20, 4, 3))
    U, _ = boltzflow.energies(boltzflow.ase.Potential(atoms, temperature_K=KELVIN), x)
    assert (np.isinf(U) == (x[:, 0, 0] > 0)).all()


def test_the_trap_has_its_gradient():
    potential = boltzflow.ase.Potential(argon(), temperature_K=KELVIN, trap=2.0)
    x = np.random.default_rng(1).normal(scale=4, size=(1, 4, 3))
    h, (_, gradient) = 1e-5, potential(x)
    for place in np.ndindex(4, 3):
        step = np.zeros_like(x)
        step[(0, *place)] = h
        slope = (potential(x + step)[0] - potential(x - step)[0]) / (2 * h)
        assert slope[0] == pytest.approx(gradient[(0, *place)], rel=1e-5, abs=1e-6)


def other(**changes):
    atoms = argon()
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


@pytest.mark.parametrize(
    "atoms, arguments, word",
    [
        ("Ar4", {}, "atoms"),
        (other(calc=None), {}, "calculator"),
        (other(pbc=True), {}, "periodic"),
        (other(constraints=[FixAtoms([0])]), {}, "constraints"),
        (argon(), {"temperature_K": -5}, "temperature_K"),
        (argon(), {"temperature_K": "300 K"}, "temperature_K"),
        (argon(), {"trap": 0}, "trap"),
    ],
)
def test_what_cannot_be_is_refused_by_name(atoms, arguments, word):
    with pytest.raises(boltzflow.BoltzflowError, match=word):
        boltzflow.ase.Potential(atoms, **{"temperature_K": KELVIN, **arguments})
