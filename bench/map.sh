#!/usr/bin/env bash
# Seconds and resident memory of an identity map of a million linked users: `bench/map.sh`. Without the release profile's
# fat LTO, which takes minutes and changes little here.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
cargo build --release --locked --example map
program=${CARGO_TARGET_DIR:-target}/release/examples/map
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for kind in plain members; do
  if [ "$kind" = members ]; then "$program" write "$folder/map.jsonl" members; else "$program" write "$folder/map.jsonl"; fi
  for _ in 1 2 3; do "$program" load "$folder/map.jsonl"; done
done
