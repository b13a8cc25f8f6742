# Everything a developer does, one target each. Bare `make` lists them.

SAMPLES := tests/data/samples
# Development tools come as prebuilt programs from pinned packages: deploy/setup/requirements-test.txt.
TOOLS := .deckle/venv-test/bin
SERVERS := $(TOOLS)/python tests/servers.py

# Where the native libraries, the models and the embedded pipeline's data live.
export DECKLE_HOME := $(CURDIR)/.deckle
# Tesseract's own threads cost ten times what they give: one per process, set before the library loads.
export OMP_THREAD_LIMIT := 1

.DEFAULT_GOAL := help
.PHONY: help setup setup-test run broker database test check bench soak licences clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building and running needs (packages, native libraries, models)
	@deploy/setup/setup.sh run

setup-test:
	@deploy/setup/setup.sh test

run: setup ## process the sample documents into out/
	cargo build # the program with all its rooms; tests are built by `make test`
	target/debug/deckle process $(SAMPLES) --out out --overwrite

broker: setup-test ## start a Kafka broker to try deckle on, until Ctrl-C
	@$(SERVERS) try kafka

database: setup-test ## start a Cassandra node to try deckle on, until Ctrl-C
	@$(SERVERS) try cassandra

# Servers that all tests share run beside them; a test that kills its broker starts its own (tests/suite/support/servers.rs).
# The runner with the summary comes last, so that the output ends in the count of tests.
# Property tests draw the same cases each time here, so that a change is judged by what it changes; `make soak` draws others.
test: export PROPTEST_RNG_SEED = 20261201
test: setup-test ## run all tests
	cargo test --workspace --quiet --doc
	$(TOOLS)/python tests/growth.py # how work grows with its input, in a build that counts
	$(SERVERS) with kafka cassandra registry s3 azure -- $(TOOLS)/cargo-nextest nextest run --workspace

check: setup-test ## format, lints, licences, documentation, unused dependencies, spelling, scripts
	cargo fmt --all --check
	cargo clippy --workspace --quiet --all-targets -- -D warnings
	$(TOOLS)/cargo-deny --log-level error check bans licenses sources
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --workspace --quiet --no-deps --document-private-items
	$(TOOLS)/cargo-shear
	$(TOOLS)/typos
	$(TOOLS)/shellcheck deploy/setup/*.sh .ci/run
	$(TOOLS)/python -m py_compile deploy/*.py deploy/setup/*.py tests/*.py

bench: setup-test ## measure embedding (batched beside one by one), the store and Kafka (exactly once beside a bare loop)
	$(SERVERS) with kafka cassandra -- cargo bench -p deckle

soak: setup-test ## run the long tests that `make test` leaves out, and property tests on many new cases
	$(SERVERS) with kafka cassandra registry s3 azure -- $(TOOLS)/cargo-nextest nextest run --workspace --profile soak --run-ignored only
	PROPTEST_CASES=10000 $(TOOLS)/cargo-nextest nextest run --workspace --profile soak -E 'test(/^(ledger|inference::batcher)::|markdown|chunking|laws::/) - test(/_laws::/) + package(deckle-decode) & test(/^hostile::/)'

licences: setup ## list the licence of every crate, library and model that a copy of deckle carries
	cargo build --quiet
	@python3 deploy/licences.py --program target/debug/deckle

clean: ## remove what was built and produced, keep libraries and models
	rm -rf target out .deckle/data

distclean: clean ## remove libraries, models and tools too
	rm -rf .deckle tests/data/.venv
