"""Several Python threads at once, forks, calls inside of calls, and memory."""

import concurrent.futures
import multiprocessing
import os
import threading

import numpy as np
import pytest

import boltzflow
from energies import TINY, springs


def test_threads_draw_what_one_draws(dw4):
    alone = [dw4.sample(500, seed=seed).positions for seed in range(8)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: dw4.sample(500, seed=seed).positions, range(8)))
    for one, other in zip(alone, together):
        assert np.array_equal(one, other)
    assert not np.array_equal(alone[0], alone[1])


def test_threads_train_at_once():
    def one(seed):
        options = {**TINY, "train": {**TINY["train"], "steps": 20}}
        flow = boltzflow.train(springs, particles=3, dimension=2, seed=seed, **options)
        return flow.sample(50).positions

    alone = [one(seed) for seed in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert all(map(np.array_equal, alone, pool.map(one, range(3))))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_function_may_call_boltzflow_itself(dw4, threads):
    def energy(x):
        drawn = dw4.sample(20, threads=threads)
        U, gradient = springs(x)
        return U + 0 * drawn.energies[0], gradient

    done = []
    work = threading.Thread(
        target=lambda: done.append(
            boltzflow.train(energy, particles=3, dimension=2, threads=threads, **TINY)
        ),
        daemon=True,
    )
    work.start()
    work.join(60)
    assert done and done[0].evaluation["samples"] == 16


def in_child(seed):
    flow = boltzflow.train(springs, particles=3, dimension=2, seed=seed, threads=2, **TINY)
    return os.getpid(), flow.sample(30).positions


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_after_use_trains_and_draws():
    here = [in_child(seed)[1] for seed in range(3)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        there = pool.map_async(in_child, range(3)).get(60)
    assert all(process != os.getpid() for process, _ in there)
    assert all(np.array_equal(one, other) for one, (_, other) in zip(here, there))


def resident():
    """MB of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def grown(trainings, keep=None):
    """MB by which so many trainings of one step raise the memory of this process."""
    kept = []
    for number in range(trainings):
        flow = boltzflow.train(springs, particles=3, dimension=2, seed=number, threads=1, **TINY)
        if keep:
            kept.append(np.ones(keep))
        if number == trainings // 10:
            before = resident()
    del flow
    return resident() - before


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is unknown here")
def test_trainings_leave_no_memory_behind():
    # 10 000 by BOLTZFLOW_TRAININGS=10000, for which the bound is the same.
    assert grown(int(os.environ.get("BOLTZFLOW_TRAININGS", 1000))) < 10
    # A leak of 100 kB each would be seen.
    assert grown(200, keep=12_500) > 10
