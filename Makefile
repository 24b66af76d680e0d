.DEFAULT_GOAL := help
.PHONY: help demo test soak lint build tools

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: ## the main job, end to end, through a real Envoy
	tests/tools.sh envoy
	cargo build --locked --workspace --bins
	target/debug/demo target/debug/elastauth

test: tools ## every test, against real servers
	cargo test --locked --workspace

soak: tools ## histories of many seeds: HISTORY_SEEDS=50 (30 s each), HISTORY_USERS=300; HISTORY_SEED=n repeats one
	HISTORY_SEEDS=$${HISTORY_SEEDS:-50} cargo test --locked --test history -- --ignored --exact soak --nocapture

lint: ## formatting, lints, documentation
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --workspace --quiet
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses; \
	  else echo "skipped: cargo deny is not installed"; fi

build: ## the release binary
	cargo build --locked --release --bin elastauth

tools: ## the servers that tests run against, into .tools/
	tests/tools.sh envoy redis elasticsearch opensearch oidc-provider keycloak schemas
