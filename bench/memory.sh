#!/usr/bin/env bash
# Resident memory of an idle gate: `bench/memory.sh [BINARY]`. Starts it on free ports with the sample config, waits until it
# answers, then reads VmRSS.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-target/release/crossgate}
folder=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
gate=$(port) admin=$(port)
sed "s/127.0.0.1:8080/127.0.0.1:$gate/" conf/minimal.yaml > "$folder/crossgate.yaml"
printf 'admin: { address: 127.0.0.1:%s }\nstate_dir: %s/state\ntelemetry: { access_log: off }\n' "$admin" "$folder" >> "$folder/crossgate.yaml"
mkdir "$folder/policies" && cp conf/policies/minimal.yaml "$folder/policies/"
"$binary" run -c "$folder/crossgate.yaml" 2>/dev/null &
pid=$!
for _ in $(seq 100); do curl -s -o /dev/null "http://127.0.0.1:$gate/nothing" && break; sleep 0.1; done
awk '/VmRSS/ { printf "idle: %.1f MiB\n", $2 / 1024 }' "/proc/$pid/status"
