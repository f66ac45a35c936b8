"""A hundred calls that are wrong: each gets an exception that names the argument."""

import os

import numpy as np
import pytest

import boltzflow
import boltzflow._errors
from conftest import ROOT
from energies import TINY, springs


def train(energy=springs, **arguments):
    usual = {"particles": 3, "dimension": 2} if callable(energy) else {}
    return boltzflow.train(energy, **{**usual, **TINY, **arguments})


def returning(U=lambda x: np.zeros(len(x)), gradient=lambda x: np.zeros(x.shape)):
    return lambda x: (U(x), gradient(x))


def raising(error):
    def energy(x):
        raise error
    return energy


def nth(n, good, bad):
    """`good`, but for call number `n` and those after it."""
    calls = [0]

    def energy(x):
        calls[0] += 1
        return (bad if calls[0] > n else good)(x)
    return energy


random = np.random.default_rng(0)
recursive = {}
recursive["train"] = recursive

# What, how it is called, what its exception is, and a word that it has.
ENERGY = [
    (None, "energy"), (5, "energy"), (object(), "energy"), ([springs], "energy"),
    (b"dw4", "energy"),
    ("dw5", "target"), ("", "target"), ("./no/such.toml", "such"), ({}, "kind"),
    ({"kind": "formla"}, "formula"), ({"kind": "double_well", "particls": 4}, "particles"),
    ({"kind": "double_well", "particles": -4}, "particles"), ({"kind": 3}, "kind"),
    ({3: 4}, "options"), ({"kind": object()}, "kind"), (np.zeros(3), "energy"),
]
RETURNED = [
    lambda x: None, lambda x: 0.0, lambda x: np.zeros(len(x)), lambda x: (1.0,),
    lambda x: (np.zeros(len(x)), np.zeros(x.shape), 1), lambda x: "energy", lambda x: {},
    returning(U=lambda x: 0.0), returning(U=lambda x: np.zeros(len(x) + 1)),
    returning(U=lambda x: np.zeros((len(x), 1))), returning(U=lambda x: np.zeros(x.shape)),
    returning(U=lambda x: ["a"] * len(x)), returning(U=lambda x: [None] * len(x)),
    returning(U=lambda x: np.zeros(len(x), complex)),
    returning(U=lambda x: np.zeros(len(x), object)),
    returning(U=lambda x: [[1], [2, 3]]), returning(U=lambda x: np.zeros(len(x), "M8[s]")),
    returning(gradient=lambda x: None), returning(gradient=lambda x: 0.0),
    returning(gradient=lambda x: np.zeros(x.shape[1:])),
    returning(gradient=lambda x: np.zeros((len(x), 6))), returning(gradient=lambda x: x[:, :2]),
    returning(gradient=lambda x: np.zeros(x.shape, complex)),
    returning(gradient=lambda x: np.moveaxis(x, 1, 2)), returning(gradient=lambda x: [[]]),
    # Changes its result, or lets configurations see each other.
    lambda x: (random.normal(size=len(x)), x),
    lambda x: (springs(x)[0], random.normal(size=x.shape)),
    lambda x: (np.full(len(x), (x**2).sum()), x), lambda x: (springs(x)[0], x - x.mean(0)),
    # Only after a while.
    nth(4, springs, lambda x: None), nth(4, springs, lambda x: (np.zeros(1), x)),
    nth(4, springs, lambda x: (springs(x)[0], x[:1])),
]
RAISED = [
    ValueError("mine"), KeyError("mine"), ZeroDivisionError("mine"), MemoryError("mine"),
    RuntimeError("mine"), StopIteration("mine"), AssertionError("mine"), SystemExit("mine"),
    GeneratorExit("mine"), KeyboardInterrupt("mine"), type("Mine", (BaseException,), {})("mine"),
]
ARGUMENTS = [
    ("particles", None), ("particles", 0), ("particles", 1), ("particles", -3), ("particles", 3.0),
    ("particles", "3"), ("particles", True), ("particles", 10**9), ("particles", []),
    ("particles", ["A"]), ("dimension", 0), ("dimension", 4), ("dimension", 2.0),
    ("dimension", None), ("species", [1, 2]), ("species", [[], [], []]), ("species", 3),
    ("structures", [[1, 2]]), ("structures", "none"), ("structures", np.full((1, 3, 2), np.nan)),
    ("structures", np.zeros((1, 2, 2))), ("batch", 0), ("batch", -1), ("batch", 1.5),
    ("batch", 10**6), ("seed", -1), ("seed", 1.0), ("seed", "0"), ("seed", 2**64),
    ("threads", 0), ("threads", -2), ("threads", 10**6), ("threads", "2"), ("callback", 5),
    ("recipe", 5), ("recipe", "no/such/recipe.toml"), ("output", str(ROOT / "README.md")),
    ("output", str(ROOT / "runs/dw4_fab")),
]
OPTIONS = [
    ({"recipe": {"trian": {}}}, "train"), ({"recipe": recursive}, "train"),
    ({"recipe": str(ROOT / "README.md")}, "README.md"), ({"recipe": ROOT / "runs"}, "runs"),
    ({"trian": {}}, "train"), ({"steps": 5}, "steps"), ({"train": 5}, "train"),
    ({"train": {"stpes": 5}}, "train.stpes"), ({"train": {"steps": "5"}}, "train.steps"),
    ({"train": {"steps": 0}}, "train.steps"), ({"train": {"steps": -5}}, "train.steps"),
    ({"train": {"steps": 2.5}}, "train.steps"), ({"train": {"objective": "fap"}}, "fab"),
    ({"train": {"batch_size": 0}}, "train.batch_size"),
    ({"train": {"steps": 2**70}}, "train.steps"),
    ({"train": {"steps": object()}}, "train.steps"), ({"train": {5: 5}}, "train"),
    ({"flow": {"layers": []}}, "flow"), ({"flow": {"layers": 5}}, "flow.layers"),
    ({"flow": {"layers": [{"coupling": "pair"}]}}, "pairwise"),
    ({"flow": {"augmentation_scale": -1.0}}, "flow.augmentation_scale"),
    ({"flow": {"base_scale": np.nan}}, "flow.base_scale"),
    ({"evaluate": {"samples": 1}}, "evaluate.samples"), ({"format": 2}, "format"),
    ({"checkpoint": {"every_seconds": 0}}, "checkpoint.every_seconds"),
    ({"evaluate": {"samples": [5]}}, "evaluate.samples"),
]
FLOW = [
    (lambda flow: flow.sample(0), "count"), (lambda flow: flow.sample(-1), "count"),
    (lambda flow: flow.sample(2.0), "count"), (lambda flow: flow.sample("2"), "count"),
    (lambda flow: flow.sample(2, seed=-1), "seed"),
    (lambda flow: flow.sample(2, seed=2**64), "seed"),
    (lambda flow: flow.sample(2, weights="none"), "weights"),
    (lambda flow: flow.sample(2, weights="marginal", draws=0), "draws"),
    (lambda flow: flow.sample(2, threads=0), "threads"),
    (lambda flow: flow.log_prob(np.zeros((4, 2))), "x"), (lambda flow: flow.log_prob("x"), "x"),
    (lambda flow: flow.log_prob(np.zeros((1, 4, 3))), "x"),
    (lambda flow: flow.log_prob(np.zeros((1, 4, 2)), np.zeros((1, 3, 2))), "a"),
    (lambda flow: flow.log_prob(np.zeros((1, 4, 2)), draws=0), "draws"),
    (lambda flow: flow.evaluate(1), "samples"), (lambda flow: flow.evaluate(2.5), "samples"),
    (lambda flow: flow.evaluate(reference=np.zeros((2, 2))), "reference"),
    (lambda flow: flow.estimate(lambda x: 1.0, 100), "function"),
    (lambda flow: flow.estimate(lambda x: "a", 100), "function"),
    (lambda flow: flow.estimate(lambda x: x[:3], 100), "function"),
    (lambda flow: flow.estimate(5, 100), "function"), (lambda flow: flow.reference(0), "count"),
    (lambda flow: flow.figures("jpg"), "format"), (lambda flow: flow.plot("nothing"), "figure"),
    (lambda flow: flow.save(ROOT / "runs/dw4_fab"), "output"),
    (lambda flow: flow.sample(5).save("samples.doc"), "doc"),
    (lambda flow: flow.sample(5).resample(0), "count"),
    (lambda flow: flow.sample(5).to_ase(symbols="Xy9"), "symbols"),
    (lambda flow: flow.sample(5).mean(np.zeros(4)), "function"),
    (lambda flow: boltzflow.load("no/such/run"), "no/such/run"),
    (lambda flow: boltzflow.load(ROOT / "runs"), "model"),
    (lambda flow: boltzflow.load(ROOT / "runs/dw4_fab", "lj13"), "energy"),
    (lambda flow: boltzflow.energies("dw4", np.zeros(3)), "x"),
    (lambda flow: boltzflow.reference("dw4", 0), "count"),
    (lambda flow: boltzflow.reference("dw4", 10, chains=5), "chains"),
    (lambda flow: boltzflow.check("dw4", particles=4), "particles"),
]
CALLS = (
    [(lambda e=e: train(e), word) for e, word in ENERGY]
    + [(lambda e=e: train(e), "energy") for e in RETURNED]
    + [(lambda n=n, v=v: train(**{n: v}), n) for n, v in ARGUMENTS]
    + [(lambda o=o: train(**o), word) for o, word in OPTIONS]
)


def refused(call, word):
    with pytest.raises(boltzflow.BoltzflowError) as caught:
        call()
    assert word in str(caught.value), caught.value
    assert len(str(caught.value)) > len(word) + 10, caught.value


def test_there_are_a_hundred():
    assert len(CALLS) + len(RAISED) + len(FLOW) >= 100


@pytest.mark.parametrize("call, word", CALLS)
def test_a_wrong_training_is_refused_by_name(call, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(call, word)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call, word", FLOW)
def test_a_wrong_use_is_refused_by_name(call, word, dw4, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(lambda: call(dw4), word)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("after", [0, 4])
def test_an_exception_of_the_energy_is_passed_on(error, after):
    with pytest.raises(type(error)) as caught:
        train(nth(after, springs, raising(error)))
    assert caught.value is error
    # The next one is fine.
    assert train().evaluation["samples"] == 16


def test_errors_have_field_and_hint():
    with pytest.raises(boltzflow.RecipeError) as caught:
        train(train={"stpes": 5})
    assert (caught.value.field, caught.value.hint) == ("train.stpes", "did you mean `steps`?")
    assert isinstance(caught.value, ValueError) and caught.value.file is None
    with pytest.raises(boltzflow.RecipeError) as caught:
        train("dw4", recipe=ROOT / "runs/dw4_brief.toml", train={"steps": 0})
    assert caught.value.field == "train.steps" and caught.value.file.endswith("dw4_brief.toml")
    with pytest.raises(boltzflow.TargetError) as caught:
        train("dw5")
    assert caught.value.field == "target" and "dw4" in caught.value.hint
