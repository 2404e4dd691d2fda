#!/usr/bin/env bash
# kill -9 under load: `bench/soak/kill.sh [ROUNDS]`, 1,000 without a number. After each round the process starts again on its
# trail; at the end every acknowledged action has to be in it, without a gap. The test that `make test` runs 20 rounds of.
set -euo pipefail
cd "$(dirname "$0")/../.."
CROSSGATE_KILLS=${1:-1000} cargo test --quiet --locked --profile demo --no-default-features --test e2e \
  audit::kill::what_was_acknowledged_survives_kill_9 -- --exact --nocapture
