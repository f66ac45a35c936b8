"""Energies of a NumPy function: how they are asked for, and what comes of them."""

import threading
import time

import numpy as np
import pytest

import boltzflow
from energies import TINY, dw4, springs

BRIEF = {
    "train": {"steps": 4, "batch_size": 128, "fab": {"buffer": {"min_batches": 8}}},
    "evaluate": {"samples": 500, "every_steps": 4},
}


def test_a_function_has_the_energies_of_the_target_that_it_is():
    x = np.random.default_rng(0).normal(scale=3, size=(300, 4, 2))
    U, gradient = boltzflow.energies("dw4", x)
    ours, slope = boltzflow.energies(boltzflow.Potential(dw4, 4, dimension=2), x)
    assert np.allclose(U, ours, rtol=1e-12) and np.allclose(gradient, slope, rtol=1e-9, atol=1e-9)
    wrong, _ = boltzflow.energies(boltzflow.Potential(springs, 4, dimension=2), x)
    assert not np.allclose(U, wrong)


def test_batches_are_those_of_the_annealing_and_come_on_the_calling_thread():
    calls = []

    def energy(x):
        calls.append((len(x), threading.get_ident(), x.dtype, x.flags["C_CONTIGUOUS"]))
        return dw4(x)

    boltzflow.train(energy, particles=4, dimension=2, threads=2, **BRIEF)
    sizes = [size for size, *_ in calls]
    assert {ident for _, ident, *_ in calls} == {threading.get_ident()}
    assert {dtype for *_, dtype, _ in calls} == {np.dtype(np.float64)}
    assert all(flag for *_, flag in calls)
    assert max(sizes) == 500 and np.median(sizes) == 128
    calls.clear()
    potential = boltzflow.Potential(energy, 4, dimension=2, batch=32)
    boltzflow.train(potential, threads=2, **BRIEF)
    assert max(size for size, *_ in calls) == 32


def test_the_interpreter_is_free_during_a_training():
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    start = time.perf_counter()
    boltzflow.train("dw4", threads=1, **BRIEF)
    seconds = time.perf_counter() - start
    stop.set()
    # Asleep for most of each millisecond, it gets a tenth of its turns at least.
    assert counted[0] > 100 * seconds


def test_what_is_not_finite_counts_as_in_rust():
    def energy(x):
        U, gradient = springs(x)
        U[(x[:, 0, 0] > 0.0)] = np.nan
        return U, gradient

    def wall(x):
        U, gradient = springs(x)
        gradient[x[:, 0, 0] > 0.0] = np.nan
        return U, gradient

    flow = boltzflow.train(energy, particles=3, dimension=2, **TINY)
    assert 0 < flow.metrics["recoverable_failures"][-1] <= 16
    drawn = flow.sample(200)
    assert np.isinf(drawn.energies).any() and np.isneginf(drawn.log_weights).any()
    flow = boltzflow.train(wall, particles=3, dimension=2, **TINY)
    assert flow.metrics["recoverable_failures"][-1] == 0
    assert 0 < flow.metrics["without_gradient"][-1] <= 16


def test_an_exception_reaches_its_author_with_its_traceback():
    class Mine(Exception):
        pass

    calls = [0]

    def inner():
        raise Mine("here")

    def energy(x):
        calls[0] += 1
        if calls[0] > 5:
            inner()
        return springs(x)

    with pytest.raises(Mine, match="here") as caught:
        boltzflow.train(energy, particles=3, dimension=2, **{**TINY, "train": {"steps": 50}})
    names = [entry.name for entry in caught.traceback]
    assert names[-2:] == ["energy", "inner"]
    assert calls[0] == 6


def test_a_callback_sees_every_step_and_may_stop():
    seen = []

    def callback(progress):
        seen.append(progress)
        if progress.step == 3:
            raise StopIteration("enough")

    options = {**TINY, "train": {**TINY["train"], "steps": 5}, "evaluate": {"samples": 16,
                                                                          "every_steps": 2}}
    with pytest.raises(StopIteration, match="enough"):
        boltzflow.train("harmonic", callback=callback, **options)
    assert [progress.step for progress in seen] == [1, 2, 3]
    assert seen[0].evaluation is None and 0 <= seen[1].evaluation["reverse_ess"] <= 1
    assert seen[1].energy_evaluations == 32 and seen[0].steps == 5


def test_species_may_not_be_exchanged():
    names = ["A", "B", "A"]
    flow = boltzflow.train(springs, particles=names, dimension=2, **TINY)
    assert boltzflow.train(springs, particles=3, species=[7, "x", 7], dimension=2, **TINY)
    x = np.random.default_rng(1).normal(size=(5, 3, 2))
    a = x[:, None] + np.random.default_rng(2).normal(size=(5, 1, 3, 2))
    log_q = flow.log_prob(x, a)
    like = [2, 1, 0]
    assert np.allclose(log_q, flow.log_prob(x[:, like], a[:, :, like]), atol=1e-4)
    trained = boltzflow.train(
        springs, particles=names, dimension=2, **{**TINY, "train": {**TINY["train"], "steps": 40}}
    )
    unlike = [1, 0, 2]
    log_q = trained.log_prob(x, a)
    assert not np.allclose(log_q, trained.log_prob(x[:, unlike], a[:, :, unlike]), atol=1e-4)


def test_a_molecule_starts_from_its_structures():
    known = np.array([[[0.0, 0.0], [5.0, 0.0]], [[0.0, 0.0], [0.0, 5.0]]])

    def bond(x):
        d = x[:, 0] - x[:, 1]
        r = np.linalg.norm(d, axis=1)
        slope = (500 * (r - 5) / r)[:, None] * d
        return 250 * (r - 5) ** 2, np.stack([slope, -slope], axis=1)

    potential = boltzflow.Potential(bond, ["C", "O"], dimension=2, structures=known)
    samples, report = boltzflow.reference(potential, 50, chains=2048)
    length = np.linalg.norm(samples.positions[:, 0] - samples.positions[:, 1], axis=1)
    assert abs(length - 5).max() < 1
    assert report["chains"] == 2048


def test_a_check_finds_a_wrong_gradient_and_an_external_field():
    fine = {finding.severity for finding in boltzflow.check(dw4, particles=4, dimension=2)}
    assert fine == {"fine"}

    def wrong(x):
        U, gradient = dw4(x)
        return U, -gradient

    def field(x):
        U, gradient = dw4(x)
        gradient = gradient.copy()
        gradient[:, :, 0] += 0.1
        return U + 0.1 * x[:, :, 0].sum(1), gradient

    for energy in (wrong, field):
        found = boltzflow.check(energy, particles=4, dimension=2)
        assert "wrong" in {finding.severity for finding in found}
