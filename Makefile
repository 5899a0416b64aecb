.DEFAULT_GOAL := help
.PHONY: help demo demo-down test check corpus bench soak fuzz doc

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: ## Start a bank, Claviger before it, and tell the story; stays up (DETACH=1 returns)
	@demo/up.sh

demo-down: ## Stop the demo
	@demo/down.sh

test: ## Run every test, against real servers and real clients that it starts itself
	@scripts/test.sh

check: ## The fast checks: format, lints, unit tests, links
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo test --workspace --lib --bins --quiet
	scripts/check-links.sh

corpus: ## Play the statements of FILE through a gateway, and compare what becomes of each (MAJOR=15 or 18, FIXTURE=fixture.sql)
	@scripts/corpus.sh "$(FILE)"

bench: ## Measure Claviger beside a plain relay and its peers
	@bench/run

soak: ## Run it under load for a long time, watching memory and descriptors
	@bench/soak

fuzz: ## Fuzz every target for SECONDS each (20)
	@scripts/fuzz.sh $(SECONDS)

doc: ## Build the Rust documentation
	cargo doc --workspace --no-deps
