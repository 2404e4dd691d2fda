# Two commands: `make demo` tries it, `make test` proves it. Each first installs what a fresh Debian machine lacks.
SHELL := /bin/bash
CARGO ?= cargo
# For `make demo PORT=9000`.
PORT ?= 8080

.PHONY: demo test bench prepare prepare-samples fmt clippy docs unit samples deny release

demo: prepare
	$(CARGO) run --quiet --locked --profile demo --no-default-features -- demo --port $(PORT)

test: prepare prepare-samples fmt clippy docs unit samples

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

# unit, end-to-end, conformance, architecture, config samples: everything under src/ and tests/
unit:
	$(CARGO) test --locked --all-targets
	$(CARGO) test --locked --doc
	$(CARGO) test --locked --test conformance -- --nocapture   # once more, for its counts

# what the documentation shows is what the binary takes
samples:
	$(CARGO) build --locked
	target="$${CARGO_TARGET_DIR:-target}"; for config in conf/*.yaml conf/demo/crossgate.yaml conf/recipes/*/crossgate.yaml; do \
	  "$$target/debug/crossgate" check -c "$$config" || exit 1; \
	  case "$$config" in conf/recipes/*) least=90;; *) least=0;; esac; \
	  "$$target/debug/crossgate" test -c "$$config" --fail-under "$$least" || exit 1; done

bench: prepare
	$(CARGO) bench --locked

release: prepare
	$(CARGO) build --locked --release

# needs cargo-deny and the advisory database from the network
deny:
	$(CARGO) deny check

# Pingora's zlib is built with cmake, which a fresh machine lacks.
prepare:
	@command -v cmake >/dev/null && command -v cc >/dev/null || { \
	  echo "installing cmake and a C compiler"; \
	  SUDO=""; [ "$$(id -u)" = 0 ] || SUDO=sudo; \
	  $$SUDO apt-get update -qq && $$SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends cmake make gcc g++ libc6-dev >/dev/null; }

# The APIs of docs/verify.md, which the tests run: Node, Python and Go with their libraries, below cargo's folder.
prepare-samples:
	@tests/samples/prepare.sh "$${CARGO_TARGET_DIR:-target}" --install
