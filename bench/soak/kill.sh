#!/usr/bin/env bash
# kill -9 under load: `bench/soak/kill.sh [ROUNDS]`, 1,000 without a number. After each kill `audit verify` proves the trail as it
# lies there, the process starts again on it, and `audit verify` proves it again; at the end every acknowledged action has to be
# in it, without a gap, and the figures are printed: acknowledged, attempts, hits, entries, lost, gaps, the slowest start. Then 200 rounds of the rollout: it starts with the state
# that was acknowledged, or with the one that was being made. The tests that `make test` runs 20 and 10 rounds of.
set -euo pipefail
cd "$(dirname "$0")/../.."
CROSSGATE_KILLS=${1:-1000} cargo test --quiet --locked --profile demo --no-default-features --test e2e \
  audit::kill::what_was_acknowledged_survives_kill_9 -- --exact --nocapture
CROSSGATE_ROLLOUT_KILLS=200 cargo test --quiet --locked --profile demo --no-default-features --test e2e \
  rollout::killed_at_any_moment_it_starts_with_what_was_acknowledged -- --exact --nocapture
