# `make demo` shows the whole system on this machine, `make test` tests it, `make ci` is what CI runs.
# Every target uses the one release profile, so that dependencies (RocksDB above all) are built once.

CARGO ?= cargo
OUTPUT := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: all build demo test bench bench-cas bench-isolate bench-scheduler bench-sharding suites chaos fuzz ci fmt fmt-check clippy docs deny prerequisites

all: build

build: prerequisites
	$(CARGO) build --release --workspace --locked

demo: build
	tests/demo/run $(OUTPUT)/release

test: build
	@tests/setup/tools nextest strace postgresql cmake gtest bubblewrap
	$(CARGO) nextest run --release --workspace --locked $(if $(CI),--profile ci)
	$(CARGO) test --release --workspace --locked --doc -q

bench: build
	$(CARGO) bench --profile release -p tests --bench spine --locked

bench-cas: build
	$(CARGO) bench --profile release -p tests --bench cas --locked -- $(PARTS)

bench-isolate: build
	$(CARGO) bench --profile release -p tests --bench isolate --locked -- $(PARTS)

# TRACES=DIR holds the traces to replay; PARTS="warm cold" measures only these; SECONDS=60 replays in less of a hurry.
bench-sharding: build
	REPLAY_SECONDS=$(or $(SECONDS),20) $(CARGO) bench --profile release -p scheduler --bench sharding --locked -- $(PARTS)

# Real suites, shared out to four bots on this machine, twice. SUITES="bytes numpy" runs these only.
suites: build
	@tests/setup/tools nextest
	tests/suites/run $(OUTPUT)/release $(SUITES)

# These parts are about the queue alone, without a server: ignored tests beside it.
QUEUE_PARTS := decisions fan_out simulation
SCHEDULER_PARTS = $(or $(PARTS),connections cycles gaps trigger restart $(QUEUE_PARTS))
bench-scheduler: SERVER = $(filter-out $(QUEUE_PARTS),$(SCHEDULER_PARTS))
bench-scheduler: QUEUE = $(patsubst %,tests::%::,$(filter $(QUEUE_PARTS),$(SCHEDULER_PARTS)))
bench-scheduler: build
	@tests/setup/tools nextest
	$(if $(SERVER),$(CARGO) bench --profile release -p tests --bench scheduler --locked -- $(SERVER))
	$(if $(QUEUE),$(CARGO) nextest run --release -p scheduler --lib --locked --run-ignored only --no-capture $(QUEUE))

# SECONDS=3600 goes on for longer, CHAOS_SEED=N repeats what died when.
chaos: build
	@tests/setup/tools nextest
	ISOSWARM_LOG=error CHAOS_SECONDS=$(or $(SECONDS),600) $(CARGO) nextest run --release -p tests --test chaos --locked --no-capture kills::

# TARGET=manifests runs one target, SECONDS=600 each of them for longer.
fuzz: build
	@tests/setup/tools fuzz
	tests/fuzz/run $(OUTPUT) $(or $(SECONDS),60) $(TARGET)

ci: fmt-check build clippy test docs deny

fmt:
	$(CARGO) fmt --all

fmt-check:
	$(CARGO) fmt --all --check

clippy: prerequisites
	$(CARGO) clippy --release --workspace --all-targets --locked -- -D warnings

docs: prerequisites
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps --document-private-items --locked

deny: prerequisites
	@tests/setup/tools deny
	$(CARGO) deny --locked --config .deny.toml check --hide-inclusion-graph bans licenses sources

prerequisites:
	@tests/setup/prerequisites
