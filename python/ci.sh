#!/usr/bin/env bash
# What must hold of the Python package: it builds as a wheel that works in a bare environment, its
# types, its tests, its examples and its tutorial.
#
#     python/ci.sh target/release/boltzflow
set -euo pipefail
cd "$(dirname "$0")"
# What cargo has compiled for the command line serves here, too.
BOLTZFLOW=$(cd ..; realpath "$1")
CARGO_TARGET_DIR=$(cd ..; realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")
export BOLTZFLOW CARGO_TARGET_DIR CI=1

step() { printf '\n== python: %s\n' "$*"; "$@"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step cargo fmt --check
step python3 ../.ci/lines.py src
step python3 tests/check_lines.py
step python3 ../.ci/circles.py src

# The library is that of the command line, as both are in one workspace.
step python3 -m venv "$work/build"
step "$work/build/bin/pip" install --quiet 'maturin>=1.8,<2'
step "$work/build/bin/maturin" build --locked --release --out "$work/wheels"
wheel=$(ls "$work"/wheels/*.whl)
size=$(stat --format=%s "$wheel")
printf '%s has %s bytes\n' "$(basename "$wheel")" "$size"
[ "$size" -le 8000000 ] || { echo "the wheel has over 8 MB" >&2; exit 1; }

# Bare: the wheel and NumPy.
step python3 -m venv "$work/bare"
step "$work/bare/bin/pip" install --quiet "$wheel"
step timeout 300 "$work/bare/bin/python" tests/run_readme.py first
step "$work/bare/bin/python" tests/check_import.py

step python3 -m venv "$work/full"
step "$work/full/bin/pip" install --quiet "$wheel" pytest mypy pyright ase tqdm matplotlib arviz \
    'jax[cpu]' pandas nbclient nbformat ipykernel
python="$work/full/bin/python"
step "$python" -m mypy --config-file pyproject.toml python/boltzflow
step "$python" -m pyright --pythonpath "$python"
step timeout 900 "$python" -m pytest tests --durations=5
# PyTorch is too large to be fetched each time: Debian's (python3-torch), where it is installed.
if /usr/bin/python3 -c 'import numpy, torch' 2>/dev/null; then
    step "$work/full/bin/pip" install --quiet --no-deps --target "$work/torch" "$wheel"
    PYTHONPATH="$work/torch:tests" step timeout 300 /usr/bin/python3 -c \
        'import autodiff; autodiff.main("torch")'
fi
# Examples in docstrings name runs by their place in the repository.
(cd .. && step timeout 300 "$python" -m pytest -q -p no:cacheprovider --doctest-modules \
    --pyargs boltzflow)
step timeout 300 "$python" tests/run_readme.py
step timeout 600 "$python" tests/run_notebook.py tutorial.ipynb "$work/tutorial.ipynb"
