"""A training from Python leaves what the command line leaves."""

import csv
import subprocess

import numpy as np
import pytest

import boltzflow
from conftest import ROOT, model
from energies import dw4

RECIPE = ROOT / "runs/dw4_brief.toml"
STEPS = {"train": {"steps": 12}, "evaluate": {"every_steps": 6, "samples": 200}}
SETTINGS = ["train.steps=12", "evaluate.every_steps=6", "evaluate.samples=200"]


def rows(folder):
    """Rows of metrics.csv without columns of times."""
    with open(folder / "metrics.csv", newline="") as file:
        return [
            {name: v for name, v in row.items() if not name.endswith(("seconds", "per_second"))}
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def by_command(tmp_path_factory):
    from conftest import binary

    folder = tmp_path_factory.mktemp("command") / "run"
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [binary(), "train", RECIPE, "-o", folder, "--seed", "3", *settings]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.mark.parametrize("threads", [1, 2])
def test_a_target_by_name_gives_the_bytes_of_the_command_line(by_command, tmp_path, threads):
    boltzflow.train(
        "dw4", recipe=RECIPE, output=tmp_path / "run", seed=3, threads=threads, **STEPS
    )
    assert model(tmp_path / "run") == model(by_command)
    for name in ("config.toml", "target.toml"):
        ours, theirs = (folder / name for folder in (tmp_path / "run", by_command))
        assert ours.read_bytes() == theirs.read_bytes(), name
    assert rows(tmp_path / "run") == rows(by_command)


def test_another_seed_gives_other_bytes(by_command, tmp_path):
    flow = boltzflow.train(recipe=str(RECIPE), output=tmp_path / "run", seed=4, **STEPS)
    assert model(tmp_path / "run")[2] != model(by_command)[2]
    assert rows(tmp_path / "run") != rows(by_command)
    assert flow.folder == str(tmp_path / "run")


def test_samples_are_those_of_the_command_line(command_line, tmp_path, dw4):
    file = tmp_path / "samples.npz"
    run = ROOT / "runs/dw4_fab"
    command = [command_line, "sample", run, "-n", "500", "--seed", "5", "-o", file]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    theirs, ours = np.load(file), dw4.sample(500, seed=5)
    assert np.array_equal(theirs["positions"], ours.positions)
    assert np.array_equal(theirs["log_weights"], ours.log_weights)
    assert np.array_equal(theirs["energies"], ours.energies)
    assert not np.array_equal(ours.positions, dw4.sample(500, seed=6).positions)


def test_a_recipe_as_a_dictionary_is_the_recipe_in_a_file(by_command):
    recipe = {
        "target": "dw4",
        "flow": {
            "augmentation_scale": 0.2,
            "base_scale": 1.5,
            "layers": [{"coupling": "pairwise", "repeat": 4, "width": np.int64(16), "cutoff": 8.0}],
        },
        "train": {
            "objective": "fab",
            "batch_size": 128,
            "learning_rate": {"initial": 1e-3, "peak": 4e-3, "final": 1e-4, "warm_up_steps": 10},
            "fab": {
                "intermediate_distributions": 2,
                "initial_step_size": 0.1,
                "buffer": {"min_batches": 8, "max_batches": 64},
            },
        },
    }
    flow = boltzflow.train(recipe=recipe, seed=3, **STEPS)
    assert flow.recipe == (by_command / "config.toml").read_text().replace(
        flow_folders(by_command), ""
    )


def flow_folders(folder):
    """The line about folders, which a recipe without a file does not have."""
    lines = (folder / "config.toml").read_text().splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("folders"))


def test_a_function_gives_the_same_bytes_on_any_number_of_threads(tmp_path):
    models = []
    for threads in (1, 2, 3):
        folder = tmp_path / str(threads)
        boltzflow.train(
            dw4, particles=4, dimension=2, recipe=RECIPE, output=folder, threads=threads, **STEPS
        )
        models.append(model(folder))
    assert models[0] == models[1] == models[2]
