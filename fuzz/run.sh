#!/bin/bash
# Runs fuzz targets one after the other and prints what each did: run.sh [seconds [target...]]. 60 seconds each by default.
# Works on stable Rust: the coverage hooks are in every compiler, behind RUSTC_BOOTSTRAP. No sanitizer, since crossgate
# has no unsafe code; panics, failed assertions, time (10 s) and memory (2 GiB) are what is found.
set -u
cd "$(dirname "$0")"
seconds=${1:-60}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n 's/^name = "\([a-z]*\)"$/\1/p' Cargo.toml)
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz || exit 1
export RUSTC_BOOTSTRAP=1
mkdir -p logs
cargo fuzz build -s none || exit 1
failed=0
printf '%-12s %12s %8s %8s %9s  %s\n' target executions exec/s coverage corpus findings
for target in "${targets[@]}"; do
  # What is found goes into corpus/, the seeds are only read.
  mkdir -p "corpus/$target" "artifacts/$target" "seeds/$target"
  dictionary=()
  [ -f "dictionaries/$target.dict" ] && dictionary=("-dict=dictionaries/$target.dict")
  cargo fuzz run -s none "$target" "corpus/$target" "seeds/$target" -- \
    -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 "${dictionary[@]}" >"logs/$target.log" 2>&1 \
    || failed=1
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "logs/$target.log" | tail -n 1)
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "logs/$target.log" | tail -n 1)
  coverage=$(grep -o 'cov: [0-9]*' "logs/$target.log" | tail -n 1 | tr -dc 0-9)
  corpus=$(find "corpus/$target" -type f | wc -l)
  findings=$(find "artifacts/$target" -type f | wc -l)
  printf '%-12s %12s %8s %8s %9s  %s\n' "$target" "${executions:-?}" "${rate:-?}" "${coverage:-?}" "$corpus" "$findings"
done
exit $failed
