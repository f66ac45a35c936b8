"""What a trained flow is for."""

import json

import numpy as np
import pytest

import boltzflow
from conftest import ROOT
from energies import TINY, springs


def test_log_prob_is_the_density_behind_the_weights(dw4):
    """w = p(x) π(a|x)/q(x, a); averaged over a, the mean weight is p(x)/q(x)."""
    drawn = dw4.sample(400, weights="marginal", draws=100)
    log_q = dw4.log_prob(drawn.positions, draws=100)

    def typical(log_q):
        return np.median(np.abs(-drawn.energies - log_q - drawn.log_weights))

    assert typical(log_q) < 0.1
    # Those of other configurations differ.
    assert typical(np.roll(log_q, 1)) > 0.5


def test_log_prob_of_copies_is_exact(dw4):
    x = dw4.sample(50).positions
    rng = np.random.default_rng(0)
    eta = 0.2
    a = x[:, None, None] + eta * rng.normal(size=(50, 400, 1, 4, 2))
    ratios = np.empty((50, 400))
    for k in range(400):
        log_pi = -0.5 * ((a[:, k, 0] - x) ** 2).sum((1, 2)) / eta**2
        log_pi -= 4 * 2 * np.log(eta * np.sqrt(2 * np.pi))
        ratios[:, k] = dw4.log_prob(x, a[:, k]) - log_pi
    mean = np.log(np.exp(ratios - ratios.max(1, keepdims=True)).mean(1)) + ratios.max(1)
    assert np.abs(mean - dw4.log_prob(x, draws=400)).mean() < 0.05
    moved = dw4.log_prob(x + 3.0, a[:, 0] + 3.0)
    assert np.allclose(moved, dw4.log_prob(x, a[:, 0]), atol=1e-3)


def test_estimates_have_errors_that_hold(dw4):
    def energy_of(x):
        return boltzflow.energies("dw4", x)[0]

    found = [dw4.estimate(energy_of, 4000, seed=seed) for seed in range(12)]
    deviations = [(e.mean - -22.542) / e.error for e in found]
    assert np.abs(deviations).max() < 4.5 and 0.4 < np.std(deviations) < 2
    assert found[0].effective_samples / 4000 > 0.8 and not found[0].rests_on_few_samples
    # Without weights they are wrong.
    drawn = dw4.sample(40_000)
    plain = boltzflow.Samples(drawn.positions).mean(energy_of)
    assert abs(plain.mean - -22.542) > 4.5 * plain.error
    arrays = drawn.mean(lambda x: x**2)
    assert arrays.mean.shape == (4, 2) == arrays.error.shape
    undefined = drawn.mean(lambda x: np.where(x[:, 0, 0] > 0, np.nan, 1.0))
    assert undefined.mean == pytest.approx(1) and 10_000 < undefined.undefined < 30_000
    assert "±" in str(found[0])


def test_evaluations_are_those_of_the_command_line(dw4):
    stored = json.loads((ROOT / "runs/dw4_fab/evaluation.json").read_text())
    # Figures that a later version has, and the file has not, are None.
    assert dw4.evaluation == dict.fromkeys(dw4.evaluation) | stored
    again = dw4.evaluate(annealed=0)
    for key in ("reverse_ess", "forward_ess", "log_z", "nll"):
        assert again[key] == pytest.approx(stored[key], rel=1e-4), key
    assert dw4.evaluate(500, marginal=True)["marginal_reverse_ess"] > 0.8
    few = dw4.evaluate(500, annealed=0, reference=dw4.sample(100).positions)
    assert few["ais_ess"] is None and few["reference_samples"] == 100


def test_metrics_are_columns(dw4):
    metrics = dw4.metrics
    lines = (ROOT / "runs/dw4_fab/metrics.csv").read_text().splitlines()
    assert list(metrics) == lines[0].split(",") == list(dw4.metrics_units)
    assert all(column.shape == (len(lines) - 1,) for column in metrics.values())
    assert metrics["step"][-1] == float(lines[-1].split(",")[0])
    pandas = pytest.importorskip("pandas")
    assert len(pandas.DataFrame(metrics)) == len(lines) - 1


def test_reference_samples_are_of_the_target(dw4):
    samples = dw4.reference(500, seed=1)
    assert samples.log_weights is None and len(samples) == 500
    mean = samples.mean(samples.energies)
    assert abs(mean.mean - -22.542) < 5 * mean.error
    # Errors are those of independent populations: copies of each sample change nothing.
    twice = np.repeat(np.arange(500), 2)
    again = boltzflow.Samples(
        samples.positions[twice], populations=samples.populations[twice]
    ).mean(samples.energies[twice])
    assert abs(again.error - mean.error) < 1e-12
    apart = boltzflow.Samples(samples.positions).mean(samples.energies)
    alone = boltzflow.Samples(samples.positions[twice]).mean(samples.energies[twice])
    assert abs(alone.error * 2**0.5 / apart.error - 1) < 0.01


def test_a_flow_in_memory_is_saved_and_loaded(tmp_path):
    flow = boltzflow.train(springs, particles=3, dimension=2, **TINY)
    assert flow.folder is None and flow.metrics["step"].tolist() == [1.0]
    flow.save(tmp_path / "run")
    with pytest.raises(boltzflow.RecipeError, match="energy.*function"):
        boltzflow.load(tmp_path / "run")
    potential = boltzflow.Potential(springs, 3, dimension=2)
    loaded = boltzflow.load(tmp_path / "run", potential)
    assert np.array_equal(loaded.sample(20).log_weights, flow.sample(20).log_weights)
    assert loaded.evaluation == flow.evaluation and loaded.metrics.keys() == flow.metrics.keys()
    stiff = boltzflow.Potential(lambda x: tuple(2 * v for v in springs(x)), 3, dimension=2)
    other = boltzflow.load(tmp_path / "run", stiff)
    assert not np.array_equal(other.sample(20).log_weights, flow.sample(20).log_weights)
    named = boltzflow.train("harmonic", **TINY)
    named.save(tmp_path / "named")
    assert boltzflow.load(tmp_path / "named").target == "harmonic"


def test_a_page_and_figures(dw4):
    page = dw4._repr_html_()
    assert page.count("<polyline") == 2 and "reverse" in page and "http" not in page
    assert "effective sample size is 86.8 %" in page and "<script" not in page
    png, svg = dw4.figures("png"), dw4.figures("svg")
    assert all(picture.startswith(b"\x89PNG") for picture in png.values())
    assert png.keys() == svg.keys()
    assert all(b"<svg" in picture[:200] for picture in svg.values())
    flow = boltzflow.train("harmonic", **TINY)
    assert set(flow.figures()) == set(png) and "<svg" in flow._repr_html_()
    assert not dw4.verdict.is_warning and "worth" in str(dw4.verdict)


def test_matplotlib_draws_them(dw4):
    pytest.importorskip("matplotlib").use("agg")
    for figure in ("ess", "loss", "energy", "log_weights"):
        axes = dw4.plot(figure)
        assert axes.get_xlabel() and (axes.lines or axes.patches)


def test_weights_and_resampling(dw4):
    drawn = dw4.sample(5000, seed=2)
    assert drawn.weights.sum() == pytest.approx(1)
    assert drawn.ess == pytest.approx(1 / (drawn.weights**2).sum() / 5000)
    equal = drawn.resample(5000)
    assert equal.log_weights is None and len(np.unique(equal.energies)) > 3000
    weighted, plain = drawn.mean(drawn.energies), equal.mean(equal.energies)
    assert abs(weighted.mean - plain.mean) < 4 * plain.error
    log_z, error = drawn.log_z
    assert abs(log_z - 29.667) < 5 * error


def test_files_for_other_programs(dw4, tmp_path):
    drawn = dw4.sample(20)
    for ending in ("npz", "npy", "csv", "xyz"):
        drawn.save(tmp_path / f"samples.{ending}")
    assert np.array_equal(np.load(tmp_path / "samples.npy"), drawn.positions)
    assert (tmp_path / "samples.xyz").read_text().count("log_weight") >= 20


def test_arviz_takes_samples(dw4):
    pytest.importorskip("arviz")
    data = dw4.sample(2000).to_arviz()
    assert data["posterior"]["x"].shape[0] == 1 and data["posterior"]["x"].shape[2:] == (4, 2)
    assert data["posterior"]["x"].dims == ("chain", "draw", "particle", "dimension")
    assert float(data["sample_stats"]["lp"].mean()) == pytest.approx(22.54, abs=0.5)


def test_progress_by_tqdm(capsys):
    pytest.importorskip("tqdm")
    boltzflow.train("harmonic", progress=True, **TINY)
    assert "step" in capsys.readouterr().err
    options = {**TINY, "evaluate": {"samples": 16, "reference_samples": 2000}}
    boltzflow.train("lj13", progress=True, **options)
    assert "drawing reference samples" in capsys.readouterr().err
    boltzflow.train("harmonic", progress=False, **TINY)
    assert capsys.readouterr().err == ""


def test_another_energy_is_told_from_that_of_the_training(tmp_path):
    run = tmp_path / "run"
    boltzflow.train(springs, particles=3, dimension=2, output=run, **TINY)
    assert boltzflow.load(run, boltzflow.Potential(springs, 3, dimension=2)).evaluation

    def stiffer(x):
        energies, gradients = springs(x)
        return 3 * energies, 3 * gradients

    with pytest.warns(UserWarning, match="not the one"):
        other = boltzflow.load(run, boltzflow.Potential(stiffer, 3, dimension=2))
    assert other.evaluation is None and other.verdict is None
    assert other.evaluate(100, annealed=0)["reverse_ess"] > 0
    for particles, dimension in ((4, 2), (3, 3)):
        potential = boltzflow.Potential(springs, particles, dimension=dimension)
        with pytest.raises(boltzflow.RecipeError, match="3 in 2"):
            boltzflow.load(run, potential)
    with pytest.raises(boltzflow.RecipeError, match="energy"):
        boltzflow.load(run)


def test_a_training_does_not_go_on_with_another_energy(tmp_path):
    run, calls = tmp_path / "run", []

    def stop(progress):
        calls.append(progress.step)
        raise RuntimeError("enough")

    options = {**TINY, "train": {**TINY["train"], "steps": 3}}
    with pytest.raises(RuntimeError, match="enough"):
        boltzflow.train(
            springs, particles=3, dimension=2, output=run, callback=stop, **options
        )
    with pytest.raises(boltzflow.RecipeError, match="target"):
        boltzflow.train(
            lambda x: [3 * part for part in springs(x)], particles=3, dimension=2, output=run,
            **options,
        )
    assert boltzflow.train(springs, particles=3, dimension=2, output=run, **options).evaluation


def test_samples_check_their_arrays():
    x = np.zeros((5, 3, 2))
    for wrong in (np.zeros(3), np.zeros(7), np.zeros((5, 1)), ["a"] * 5):
        with pytest.raises(boltzflow.RecipeError, match="log_weights"):
            boltzflow.Samples(x, wrong)
    with pytest.raises(boltzflow.RecipeError, match="positions"):
        boltzflow.Samples(np.zeros(5))
    one = boltzflow.Samples(x, [0.0, -1e3, -1e3, -1e3, -1e3]).mean(np.arange(5.0))
    assert one.mean == 0 and np.isnan(one.error)
    values = boltzflow.Samples(x).mean([1.0, np.nan, 3.0, 2.0, 2.0])
    assert "without 1 sample" in str(values)


def test_a_flow_says_how_it_is_handed_on(dw4):
    import pickle

    with pytest.raises(TypeError, match="flow.save"):
        pickle.dumps(dw4)
    with pytest.raises(boltzflow.RecipeError, match="finite"):
        dw4.log_prob(np.full((1, 4, 2), np.nan))
    with pytest.raises(boltzflow.RecipeError, match="folder"):
        dw4.save("")
    with pytest.raises(boltzflow.RecipeError, match="train={'steps': 3}"):
        boltzflow.train("dw4", steps=3)


def test_a_recipe_is_chosen_for_a_function():
    recipe = boltzflow.choose_recipe(springs, particles=3, dimension=2, minutes=0.1)
    assert recipe["target"] == "custom" and recipe.seconds > 0
    assert "boltzflow.choose_recipe(…, minutes=0.1)" in recipe.text
    # Each coordinate is a standard normal.
    assert recipe["flow"]["base_scale"] == pytest.approx(1, rel=0.15)
    flow = boltzflow.train(
        springs, particles=3, dimension=2, recipe=recipe, train={"steps": 2},
        evaluate={"samples": 1000, "reference_samples": 0},
    )
    assert flow.metrics["step"][-1] == 2
    for minutes in (0, float("nan"), "soon", True, 1e-6):
        with pytest.raises(boltzflow.RecipeError, match="minutes"):
            boltzflow.choose_recipe("dw4", minutes=minutes)
