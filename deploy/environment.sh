#!/usr/bin/env bash
# Make .venv hold exactly what the requirements files pin, and nothing be installed twice.
#
# In:   `run` (what livetwin needs) or `dev` (tests and checks too); TORCH=cpu|auto|cu130|… picks another build of PyTorch
#       than the one on the package index (uv's --torch-backend); PYTHON=… picks the interpreter.
# Out:  .venv, with livetwin itself installed in place. Stamps in it make the next call return at once.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?expected run or dev}
venv=.venv
say() { echo "livetwin: $*" >&2; }

find_python() { # 3.14 comes last: one library (wntr) must be compiled there
    local name
    for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3.14 python3 python; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1; then
            command -v "$name"
            return
        fi
    done
    say "no Python found: python3.11 to python3.14 and python3 were tried, livetwin needs 3.11, 3.12, 3.13 or 3.14; nothing was" \
        "installed. Install one, or name it: make run PYTHON=/path/to/python3.12"
    exit 1
}

find_uv() { # the one on the PATH where it knows what we ask of it, else the pinned one in build/uv
    if uv pip install --help 2>/dev/null | grep -q -- --torch-backend; then
        echo uv
        return
    fi
    if [ ! -x build/uv/bin/uv ]; then
        say "installing uv (the installer, 20 MB) into build/uv ..."
        rm -rf build/uv
        if ! { "$python" -m venv build/uv && build/uv/bin/python -m pip install -q --require-hashes -r requirements-uv.txt; } >&2; then
            rm -rf build/uv # a Python without ensurepip (Debian's without python3-venv) may still have pip
            if ! "$python" -m pip install -q --require-hashes --target build/uv -r requirements-uv.txt >&2; then
                say "uv could not be installed: $python has neither a working 'venv' nor 'pip' (Debian: apt install python3-venv), or" \
                    "the package index can't be reached; nothing was installed"
                exit 1
            fi
        fi
    fi
    echo build/uv/bin/uv
}

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c1-16; }

torch_pin=$(grep -oE '^torch==[^ ;]+' requirements-torch.txt)
torch_now=$(cat $venv/livetwin-torch 2>/dev/null || true)
backend=${TORCH:-${torch_now#* }} # nothing asked for: what is there stays
backend=${backend:-index}
if [ "$(uname)" = Darwin ]; then backend=index; fi # the index has the one build there is for macOS
torch_want="$torch_pin $backend"
pins=(requirements.txt)
if [ "$what" = dev ]; then pins+=(requirements-dev.txt); fi
stamp=$(cat "${pins[@]}" requirements-torch.txt pyproject.toml deploy/environment.sh | sha256)

if ! $venv/bin/python -c '' 2>/dev/null; then
    python=$(find_python)
    uv=$(find_uv)
    say "making .venv with $("$python" --version) ..."
    "$uv" venv --quiet --clear --python "$python" $venv
    torch_now=
elif [ "$(cat "$venv/livetwin-$what" 2>/dev/null)" = "$stamp" ] && [ "$torch_now" = "$torch_want" ]; then
    exit 0
else
    python=$venv/bin/python
    uv=$(find_uv)
fi

rm -f "$venv/livetwin-$what"
install() { "$uv" pip install --python $venv/bin/python --no-deps "$@"; }
options=()
for file in "${pins[@]}"; do options+=(-r "$file"); done
if [ "$backend" = index ]; then
    options+=(-r requirements-torch.txt)
    if [ -n "$torch_now" ] && [ "$torch_now" != "$torch_want" ]; then options+=(--reinstall-package torch); fi
    if [ -z "$torch_now" ] && [ "$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null; then
        say "PyTorch comes with CUDA (5 GB on disk). This machine shows no NVIDIA GPU; 'make $([ "$what" = dev ] && echo test || echo run) TORCH=cpu' spares you that"
    fi
fi
count=$(cat "${pins[@]}" | grep -cE '^[a-z0-9]')
say "installing $count pinned packages${TORCH:+, torch for $backend}; the first time is a download of some minutes, progress below ..."
install --require-hashes "${options[@]}"
if [ "$backend" != index ] && [ "$torch_now" != "$torch_want" ]; then
    # other builds have other hashes (2.x+cpu) and come from PyTorch's own index, over TLS: the version is pinned, the hash can't be
    say "installing $torch_pin for $backend ..."
    install --torch-backend "$backend" --reinstall-package torch "$torch_pin" || {
        say "$torch_pin for $backend could not be installed (see above; it comes from PyTorch's index, not from yours)." \
            "Without TORCH=$backend the build on your package index is used"
        exit 1
    }
fi
install --quiet --no-build-isolation --editable .
echo "$torch_want" >$venv/livetwin-torch
echo "$stamp" >"$venv/livetwin-$what"
say "ready: $($venv/bin/python --version), $torch_pin ($backend)"
