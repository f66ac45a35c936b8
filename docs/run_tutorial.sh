#!/usr/bin/env bash
# Runs the sh blocks of docs/tutorial.md one after the other in an empty folder, with boltzflow on the
# PATH. usage: docs/run_tutorial.sh [FOLDER]
set -euo pipefail
tutorial=$(cd "$(dirname "$0")" && pwd)/tutorial.md
command -v boltzflow >/dev/null || { echo "put boltzflow on the PATH first" >&2; exit 1; }
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"
awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$tutorial" >commands.sh
[ "$(wc -l <commands.sh)" -ge 8 ] || { echo "no commands were found in the tutorial" >&2; exit 1; }
bash -euxo pipefail commands.sh
echo "the tutorial works to its last line, in $folder"
