"""Ctrl-C: within a second, with a checkpoint, wherever the training is."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import boltzflow
from conftest import ROOT, model

#: Seconds that a machine with other work may take; a quiet one takes a tenth of that.
PATIENCE = 3.0 if os.environ.get("CI") else 1.0

START = f"""
import sys, time
sys.path.insert(0, {str(ROOT / "python/tests")!r})
import numpy as np, boltzflow
from energies import dw4
def ready(progress):
    if progress.step == 3: print("ready", flush=True)
options = dict(recipe={str(ROOT / "runs/dw4_brief.toml")!r}, train={{"steps": 100_000}})
try:
    WORK
except KeyboardInterrupt as error:
    print("interrupted", time.time(), getattr(error, "__notes__", [""])[0], flush=True)
    sys.exit(5)
"""

WORKS = {
    "a built-in target": "boltzflow.train('dw4', output=OUTPUT, callback=ready, **options)",
    "a function": "boltzflow.train(dw4, particles=4, dimension=2, output=OUTPUT, callback=ready, "
                  "**options)",
    "inside of a function": """
    def slow(x):
        slow.calls += 1
        if slow.calls == 40:
            print("ready", flush=True)
            time.sleep(60)
        return dw4(x)
    slow.calls = 0
    boltzflow.train(slow, particles=4, dimension=2, output=OUTPUT, **options)""",
    "the reference sampler": """
    print("ready", flush=True)
    boltzflow.reference("lj55", 100_000)""",
    "sampling": """
    flow = boltzflow.load(RUN)
    print("ready", flush=True)
    flow.sample(50_000_000)""",
    "a check": """
    print("ready", flush=True)
    boltzflow.check(lambda x: (time.sleep(0.001), dw4(x))[1], particles=4, dimension=2)""",
}


@pytest.mark.parametrize("what", WORKS)
def test_an_interrupt_ends_it_within_a_second(what, tmp_path):
    output = tmp_path / "run"
    code = START.replace("WORK", textwrap.dedent(WORKS[what]).strip().replace("\n", "\n    "))
    code = code.replace("OUTPUT", repr(str(output)))
    code = code.replace("RUN", repr(str(ROOT / "runs/dw4_fab")))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    start = time.time()
    process.send_signal(signal.SIGINT)
    words = process.stdout.read().split(maxsplit=2)
    assert process.wait(30) == 5 and words[0] == "interrupted"
    assert float(words[1]) - start < PATIENCE
    if "output" in WORKS[what]:
        assert f"is kept in {output}" in words[2] or sys.version_info < (3, 11)
        assert list(output.glob("checkpoint-*.json"))


def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path):
    options = {
        "recipe": ROOT / "runs/dw4_brief.toml",
        "train": {"steps": 8},
        "evaluate": {"every_steps": 4, "samples": 100},
    }
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    boltzflow.train("dw4", output=whole, **options)

    def interrupt(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        boltzflow.train("dw4", output=parts, callback=interrupt, **options)
    assert not (parts / "model.safetensors").exists()
    steps = []
    boltzflow.train("dw4", output=parts, callback=lambda p: steps.append(p.step), **options)
    assert steps == [4, 5, 6, 7, 8]
    assert model(whole) == model(parts)
    with pytest.raises(boltzflow.RecipeError, match="output.*already holds a run"):
        boltzflow.train("dw4", output=parts, **options)


def test_a_changed_recipe_is_refused_or_accepted(tmp_path):
    options = {"recipe": ROOT / "runs/dw4_brief.toml", "output": tmp_path / "run"}

    def stop(progress):
        raise StopIteration

    def call(steps, batch_size=128, **more):
        train = {"steps": steps, "batch_size": batch_size}
        return boltzflow.train("dw4", train=train, evaluate={"samples": 50}, **options, **more)

    with pytest.raises(StopIteration):
        call(3, callback=stop)
    with pytest.raises(boltzflow.RecipeError, match="steps was 3 and is 2.*force=True"):
        call(2)
    with pytest.raises(boltzflow.RecipeError, match="batch_size.*another folder by output"):
        call(3, 64, force=True)
    assert call(2, force=True).metrics["step"][-1] == 2


def test_a_notebook_is_interrupted_too(tmp_path):
    manager_module = pytest.importorskip("jupyter_client")
    pytest.importorskip("ipykernel")
    manager, client = manager_module.manager.start_new_kernel(kernel_name="python3")
    try:
        code = f"""
import boltzflow
print("ready", flush=True)
boltzflow.train(
    "dw4", recipe={str(ROOT / "runs/dw4_brief.toml")!r}, output={str(tmp_path / "run")!r},
    train={{"steps": 100_000}}, progress=False,
)
"""
        client.execute(code)
        while client.get_iopub_msg(timeout=60)["msg_type"] != "stream":
            pass
        time.sleep(2)
        start = time.time()
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=30))["msg_type"] != "execute_reply":
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt", reply["content"]
        assert time.time() - start < PATIENCE
        assert list((tmp_path / "run").glob("checkpoint-*.json"))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
