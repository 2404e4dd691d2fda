#!/usr/bin/env bash
# What a large config costs: `bench/reload.sh [check] [reload] [latency] [memory]`, all without a name. Builds the release binary
# and the load bench's parts, prints Markdown.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${NO_BUILD:-}" ] || { make -s prepare; cargo build --quiet --locked --release --bin crossgate --example load; }
PYTHONPATH=bench exec python3 bench/reload.py "$@"
