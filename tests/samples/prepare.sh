#!/bin/sh
# Sets up what tests/e2e/samples.rs, recipes.rs and editor.rs run, in FOLDER/samples: libraries of Node and Python in their locked versions, and the
# Go program. Does nothing the second time. With --install, tools that the machine lacks are installed as Debian packages.
set -eu
cd "$(dirname "$0")/../.."
folder=$1 install=${2:-}
mkdir -p "$folder/samples"
samples=$(cd "$folder/samples" && pwd)
exec 9>"$samples/lock" && flock 9

go_jwt=/usr/share/gocode/src/github.com/golang-jwt/jwt
python() {
  for each in /usr/bin/python3 python3; do
    if "$each" -c 'import ensurepip, venv' 2>/dev/null; then echo "$each"; return; fi
  done
}
lacks() {
  command -v node >/dev/null || echo nodejs
  command -v npm >/dev/null || echo npm
  [ -n "$(python)" ] || echo python3-venv
  command -v go >/dev/null || echo golang-go
  [ -d "$go_jwt" ] || echo golang-github-golang-jwt-jwt-dev
}
packages=$(lacks | tr '\n' ' ')
if [ -n "$packages" ] && [ "$install" = --install ]; then
  echo "installing $packages"
  sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  # shellcheck disable=SC2086
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
  packages=$(lacks | tr '\n' ' ')
fi
if [ -n "$packages" ]; then
  echo "the samples need $packages: run \`make prepare-samples\`" >&2
  exit 1
fi

# Whether what was made of this lock file is there.
is_made() { cmp -s "$1" "$2/made-of"; }
made() { cp "$1" "$2/made-of"; }

node() {
  mkdir -p "$samples/$1"
  cp "${3:-$2}"/*.mjs "$2/package.json" "$2/package-lock.json" "$samples/$1/"
  is_made "$2/package-lock.json" "$samples/$1" && return
  (cd "$samples/$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  made "$2/package-lock.json" "$samples/$1"
}
node node docs/verify/node
node legacy-api tests/samples/legacy-api
node express tests/samples/express conf/recipes/express-api
# No API: what editors ask about YAML files.
node language-server tests/samples/language-server

environment() {
  is_made "$2" "$samples/$1" && return
  rm -rf "${samples:?}/$1"
  "$(python)" -m venv "$samples/$1"
  "$samples/$1/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r "$2" >&2
  made "$2" "$samples/$1"
}
environment python docs/verify/python/requirements.txt
environment flask tests/samples/flask/requirements.txt

# Debian has one folder for all versions; a program names the major one.
mkdir -p "$samples/go/src/github.com/golang-jwt/jwt"
ln -sfn "$go_jwt" "$samples/go/src/github.com/golang-jwt/jwt/v4"
GO111MODULE=off GOFLAGS='' CGO_ENABLED=0 GOPATH="$samples/go" GOCACHE="$samples/go/cache" \
  go build -o "$samples/go/api" docs/verify/go/api.go >&2
