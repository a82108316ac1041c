#!/usr/bin/env bash
# Make build/rivals hold the frameworks that livetwin is measured against. No part of livetwin needs them.
#
# In:   .venv (deploy/environment.sh), requirements-rivals.txt.
# Out:  build/rivals, a virtual environment with what that file pins; all else (torch, livetwin's rooms) comes from .venv.
set -euo pipefail
cd "$(dirname "$0")/../../.."
rivals=build/rivals
stamp=$(cat requirements-rivals.txt requirements-torch.txt | cksum)
if [ "$(cat $rivals/stamp 2>/dev/null)" = "$stamp" ] && $rivals/bin/python -c '' 2>/dev/null; then exit 0; fi
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] > (3, 12))'; then
    echo "bench: .venv has $(.venv/bin/python --version), but Bytewax 0.21 comes for 3.11 and 3.12 only; nothing was measured." \
        "Remove .venv and name one of these: make bench-rivals PYTHON=python3.12" >&2
    exit 1
fi
uv=uv
if ! command -v uv >/dev/null; then uv=build/uv/bin/uv; fi
echo "bench: installing Faust, Quix Streams, Bytewax and Pathway into $rivals ..." >&2
"$uv" venv --quiet --clear --python .venv/bin/python $rivals
"$uv" pip install --quiet --python $rivals/bin/python --no-deps --require-hashes -r requirements-rivals.txt
packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
theirs=$($rivals/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$packages" >"$theirs/livetwin.pth" # after its own packages, so pins of the rivals win
echo "$stamp" >$rivals/stamp
