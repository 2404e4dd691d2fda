#!/usr/bin/env bash
# The load bench, whole, with one command: `bench/load/run.sh [audit] [cpu] [guard] [memory] [crowd] [flood]`, all without a name.
# Builds the release binary and the bench's own parts, installs what a fresh Debian machine lacks, prints Markdown.
set -euo pipefail
cd "$(dirname "$0")/../.."
missing=()
command -v wrk >/dev/null || missing+=(wrk)
command -v python3 >/dev/null || missing+=(python3)
if [ "${#missing[@]}" -gt 0 ]; then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi
[ -n "${NO_BUILD:-}" ] || { make -s prepare; cargo build --quiet --locked --release --bin crossgate --example load; }
ulimit -n "$(ulimit -Hn)"
PYTHONPATH=bench exec python3 bench/load/run.py "$@"
