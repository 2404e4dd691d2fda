#!/usr/bin/env bash
# Soaks with one command each: `bench/soak/run.sh posts [MINUTES] | slow | restarts [COUNT] | drain`. Builds the release
# binary first; prints Markdown; ends with 1 when a promise was broken.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v python3 >/dev/null; then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends python3 >&2
fi
[ -n "${NO_BUILD:-}" ] || { make -s prepare; cargo build --quiet --locked --release --bin crossgate --example load; }
ulimit -n "$(ulimit -Hn)"
what=${1:?posts, slow, restarts or drain}
PYTHONPATH=bench exec python3 "bench/soak/$what.py" "${@:2}"
