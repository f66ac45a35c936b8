"""What tests and the examples in docstrings share."""

import json
import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def binary():
    """The command line, which must be built: BOLTZFLOW, or target/release/boltzflow."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return pathlib.Path(os.environ.get("BOLTZFLOW", target / "release/boltzflow"))


def model(folder):
    """The parameters' bytes and what is said about them, without the time of the training."""
    text = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(text[:8], "little")
    header = json.loads(text[8:8 + size])
    stored = json.loads(header.pop("__metadata__").popitem()[1])
    for name in ("train_seconds", "metadata_crc32"):
        del stored[name]
    return header, stored, text[8 + size:]


@pytest.fixture
def command_line():
    path = binary()
    if not path.exists():
        pytest.fail(f"{path} is missing: cargo build --release, or set BOLTZFLOW")
    return path


@pytest.fixture(scope="session")
def dw4():
    import boltzflow

    return boltzflow.load(ROOT / "runs/dw4_fab")
