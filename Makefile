.DEFAULT_GOAL := help
ENVOYS := 1.36.4 1.37.0 1.38.3 1.39.3 1.40.0
OLDEST_ENVOY := $(firstword $(ENVOYS))
END_TO_END := --test process --test clients --test mistakes --test headers --test rolling --test shipped --test tls \
  --test access_log --test responses --test tokens

.PHONY: help demo try test test-matrix soak bench memory loss budget budget-record profile lint docs build tools

help: ## lists the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

demo: ## shows the main job, end to end, through a real Envoy
	tests/tools.sh envoy
	cargo build --locked --workspace --bins
	target/debug/demo target/debug/elastauth

try: ## starts all that a login with a browser needs, and prints the address to open
	tests/tools.sh envoy oidc-provider
	cargo build --locked --workspace --bins
	target/debug/try_login target/debug/elastauth

test: tools budget ## runs every test, against real servers
	cargo test --locked --workspace
	ENVOY_VERSION=$(OLDEST_ENVOY) cargo test --locked $(END_TO_END)

test-matrix: tools ## runs the tests with a real Envoy against each supported version of it
	for version in $(ENVOYS); do tests/tools.sh envoy-$$version && \
	  ENVOY_VERSION=$$version cargo test --locked $(END_TO_END) || exit 1; done

soak: tools build ## runs floods and crowds, then histories of many seeds: HISTORY_SEEDS=50 (30 s each), HISTORY_USERS=300; HISTORY_SEED=n repeats one
	SCALE_BINARY=target/release/elastauth cargo test --locked --test scale -- --ignored soak --nocapture --test-threads 1
	HISTORY_SEEDS=$${HISTORY_SEEDS:-50} cargo test --locked --test history -- --ignored --exact soak --nocapture
	HISTORY_SEEDS=$${HISTORY_SEEDS:-50} cargo test --locked --test login_history -- --ignored --exact soak --nocapture

bench: ## measures a check as a ratio to a server that answers a constant: BENCH_ROUNDS=7
	tests/tools.sh envoy redis h2load
	cargo build --locked --release -p elastauth -p elastauth-bench
	target/release/elastauth-bench target/release $(BENCH_ROUNDS)

memory: build ## measures the memory of an idle process, a user and a token, and the worst case: MEMORY_USERS=10000 measures a part of it
	tests/tools.sh redis
	SCALE_BINARY=target/release/elastauth cargo test --locked --test scale -- --ignored memory --nocapture --test-threads 1

loss: build ## measures what a loss of Redis costs: writes, and the first request of each user: LOSS_USERS=10000, LOSS_RATE=300 a second
	tests/tools.sh redis
	SCALE_BINARY=target/release/elastauth cargo test --locked --test scale -- --ignored loss --nocapture --test-threads 1

budget budget-record: ## compares the instructions of a hit with those on record (budget), or records them for this compiler
	tests/tools.sh valgrind
	cargo build --locked --release -p elastauth-bench --bin count --bin budget
	target/release/budget $(if $(filter budget-record,$@),record,check)

# A separate build with symbols and frame pointers; perf and inferno's programs (cargo install inferno) must be installed.
profile: ## draws flame graphs of the floor and of a hit: benches/floor.svg, benches/hit.svg
	tests/tools.sh h2load
	CARGO_PROFILE_RELEASE_STRIP=none RUSTFLAGS="-C force-frame-pointers=yes" \
	  cargo build --locked --release --target-dir target/profile -p elastauth -p elastauth-bench
	target/profile/release/elastauth-bench target/profile/release profile

lint: ## checks formatting, lints and documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace --quiet
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses; \
	  else echo "skipped: cargo deny is not installed"; fi

docs: ## builds the documentation as a book: target/book/index.html; a warning is an error
	tests/tools.sh mdbook
	@said=$$(.tools/bin/mdbook build 2>&1); built=$$?; echo "$$said"; test $$built = 0 && ! echo "$$said" | grep -qE 'WARN|ERROR'

build: ## builds the release binary
	cargo build --locked --release --bin elastauth

tools: ## fetches the servers that tests run against into .tools/
	tests/tools.sh envoy $(ENVOYS:%=envoy-%) redis libfaketime grpcurl elasticsearch opensearch oidc-provider keycloak chromium schemas
