#!/usr/bin/env bash
# Pin every dependency of pyproject.toml with hashes, for Linux and macOS, Python 3.11 and newer. `make lock` runs it.
#
# In:   pyproject.toml; the pins there are (UPGRADE=1: none of them are kept).
# Out:  requirements-torch.txt  torch and what only its CUDA build needs (another backend takes torch alone, see environment.sh)
#       requirements.txt        what running livetwin needs besides
#       requirements-dev.txt    what tests and checks need besides
#       requirements-uv.txt     uv itself, which installs the others
#       requirements-rivals.txt frameworks that `make bench-rivals` measures beside livetwin, in an environment of their own
# One resolution is split into the first three, so they never disagree. No file names an index: yours decides where packages come from.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile() { "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url "$@"; }

touch "$work/all.txt"
if [ -z "${UPGRADE:-}" ]; then
    cat requirements.txt requirements-torch.txt requirements-dev.txt >"$work/all.txt" 2>/dev/null || true
fi
echo "lock: resolving everything ..."
compile pyproject.toml --group dev --group build --output-file "$work/all.txt"
echo "lock: which of it is needed to run ..."
cp "$work/all.txt" "$work/runtime.txt" # the pins there are preferred
compile pyproject.toml --group build --no-annotate --output-file "$work/runtime.txt"
grep -oE '^[a-z0-9][a-z0-9._-]*' "$work/runtime.txt" >"$work/runtime-names.txt"

# a stanza is a line that begins with a name, and the indented lines after it
awk -v work="$work" '
    FILENAME ~ /runtime-names/ { runtime[$1] = 1; next }
    /^[a-z0-9]/ {
        match($0, /^[a-z0-9][a-z0-9._-]*/); name = substr($0, 1, RLENGTH)
        target = (name in runtime) ? "requirements.txt" : "requirements-dev.txt"
        if (name ~ /^(torch|triton|nvidia-.*|cuda-.*)$/ && name != "nvidia-ml-py") target = "requirements-torch.txt"
    }
    { print > (work "/" target) }' "$work/runtime-names.txt" "$work/all.txt"
mv "$work/requirements.txt" "$work/requirements-torch.txt" "$work/requirements-dev.txt" .
echo "uv" | compile - --output-file requirements-uv.txt
# the rivals run on livetwin's pins where models and twin meet them
if [ -n "${UPGRADE:-}" ]; then rm -f requirements-rivals.txt; fi
grep -E '^(aiokafka|faust-streaming|numpy|orjson)==' "$work/all.txt" | sed 's/ *\\$//' >"$work/shared.txt"
printf 'faust-streaming\nquixstreams>=3.28\nbytewax>=0.21\npathway>=0.33\norjson\n' |
    compile - --constraint "$work/shared.txt" --no-annotate --output-file requirements-rivals.txt
for file in requirements*.txt; do echo "lock: $file $(grep -cE '^[a-z0-9]' "$file") packages"; done
