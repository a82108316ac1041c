#!/usr/bin/env bash
# Build the real InfluxDB 2 server for tests: once a machine, from source, without Docker and without root.
#
# In:     the Go module github.com/influxdata/influxdb/v2 at VERSION, checked by Go's checksum database; go 1.23+, clang, cargo.
# Out:    the path of the binary on standard output, progress on standard error. It lies in the user's cache
#         (XDG_CACHE_HOME, else ~/.cache), outside any checkout; where it lies already, nothing is built.
# Needs:  some four minutes on two cores, 3 GB of disk while it builds, 0.1 GB after.
# With --cached it only looks: status 3 where there is none yet.
# Ends with status 2, naming what is missing, where it can't be built. Two calls at once: the second waits for the first.
set -euo pipefail

VERSION=2.7.12
PKG_CONFIG_VERSION=v0.2.14 # hands flux's Rust library to cgo
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/livetwin/influxd-$VERSION"
BINARY="$CACHE/influxd"

say() { echo "influxd: $*" >&2; }

answers() { [ -x "$1" ] && "$1" version 2>/dev/null | grep -qF "$VERSION"; }

check_tools() {
    local missing=()
    command -v go >/dev/null || missing+=("go 1.23 or newer (https://go.dev/dl)")
    command -v clang >/dev/null || missing+=("clang (Debian: apt-get install clang)")
    command -v cargo >/dev/null || missing+=("cargo and rustc (https://rustup.rs)")
    if [ ${#missing[@]} -gt 0 ]; then
        say "not built: missing $(printf '%s; ' "${missing[@]}")nothing was changed"
        exit 2
    fi
    local found
    found=$(go env GOVERSION)
    if [ "$(printf '%s\n' go1.23 "$found" | sort -V | head -n 1)" != go1.23 ]; then
        say "not built: found $found, expected go1.23 or newer; nothing was changed"
        exit 2
    fi
}

# flux denies every warning of the Rust compiler; newer compilers warn of more than its own did
write_rust_wrapper() {
    cat >"$1" <<'WRAPPER'
#!/bin/sh
exec "$@" --cap-lints warn
WRAPPER
    chmod +x "$1"
}

write_module() {
    cat >"$1/go.mod" <<MODULE
module influxd

go 1.23.0

require (
	github.com/influxdata/influxdb/v2 v$VERSION
	github.com/influxdata/pkg-config $PKG_CONFIG_VERSION
)

replace github.com/nats-io/nats-streaming-server v0.11.2 => github.com/influxdata/nats-streaming-server v0.11.3-0.20201112040610-c277f7560803
MODULE
}

build() {
    local work="$1" log="$CACHE/build.log" began
    began=$(date +%s)
    write_module "$work"
    write_rust_wrapper "$work/rustc-wrapper"
    cd "$work"
    export GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=1 CC=clang RUSTC_WRAPPER="$work/rustc-wrapper"
    if command -v rustup >/dev/null; then # flux names an old toolchain, which rustup would fetch
        RUSTUP_TOOLCHAIN=${RUSTUP_TOOLCHAIN:-stable}
        export RUSTUP_TOOLCHAIN
    fi
    say "1/3 fetching modules (log: $log)"
    go build -o "$work/pkg-config" github.com/influxdata/pkg-config >"$log" 2>&1 || failed "$log"
    export PKG_CONFIG="$work/pkg-config"
    say "2/3 building flux (Rust) and influxd (Go): some four minutes on two cores"
    go build -tags sqlite_foreign_keys,sqlite_json,noasm -ldflags "-s -w -X main.version=v$VERSION" \
        -o "$work/influxd" github.com/influxdata/influxdb/v2/cmd/influxd >>"$log" 2>&1 || failed "$log"
    answers "$work/influxd" || { "$work/influxd" version >>"$log" 2>&1 || true; failed "$log"; }
    mv "$work/influxd" "$BINARY"
    say "3/3 built $BINARY in $(($(date +%s) - began)) s"
}

failed() {
    tail -n 30 "$1" >&2
    say "not built: the lines above are the end of $1; nothing was put into the cache"
    exit 1
}

if ! answers "$BINARY"; then
    if [ "${1:-}" = --cached ]; then
        say "not at $BINARY"
        exit 3
    fi
    check_tools
    mkdir -p "$CACHE"
    exec 9>"$CACHE/lock"
    if command -v flock >/dev/null; then flock 9; fi
    if ! answers "$BINARY"; then
        work=$(mktemp -d)
        trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
        (build "$work")
    fi
fi
echo "$BINARY"
