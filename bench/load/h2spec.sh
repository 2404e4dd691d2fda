#!/usr/bin/env bash
# h2spec against an h2c listener of the release binary: `bench/load/h2spec.sh`. Takes h2spec from $H2SPEC or the PATH, else
# builds it with Go (Debian's golang-go), which needs the network for its modules. The goal is 145 of 146.
set -euo pipefail
cd "$(dirname "$0")/../.."
h2spec=${H2SPEC:-$(command -v h2spec || true)}
if [ -z "$h2spec" ]; then
  if ! command -v go >/dev/null; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends golang-go ca-certificates >&2
  fi
  export GOPATH=${GOPATH:-$PWD/target/go}
  go install github.com/summerwind/h2spec/cmd/h2spec@v2.6.0
  h2spec=$GOPATH/bin/h2spec
fi
[ -n "${NO_BUILD:-}" ] || { make -s prepare; cargo build --quiet --locked --release --bin crossgate --example load; }
PYTHONPATH=bench exec python3 - "$h2spec" <<'END'
import subprocess, sys
import stand
with stand.Stand() as bed:
    api, port = stand.free_port(), stand.free_port()
    bed.start(stand.TOOLS, "origin", f"127.0.0.1:{api}", port=api)
    path = bed.config("h2spec", api, listeners=f'[{{ address: "127.0.0.1:{port}", h2c: true }}]')
    bed.crossgate(path, port)
    sys.exit(subprocess.run([sys.argv[1], "-h", "127.0.0.1", "-p", str(port), "-P", "/public/x"]).returncode)
END
