# What a contributor and CI run. Everything uses cargo's dev profile: one profile, so nothing is built twice.
.PHONY: run test build lint bench soak prepare

run: build              ## build, then a server with a stream flowing in
	scripts/run

test: prepare lint build  ## everything CI checks
	cargo test --workspace --no-fail-fast

build: prepare
	cargo build --workspace

lint: prepare           ## formatting and clippy, warnings are errors
	cargo fmt --check
	cargo clippy --workspace --all-targets -- --deny warnings

bench: build            ## the figures of the README's table
	cargo bench --profile dev --bench columns
	cargo bench --profile dev --bench distribution
	cargo bench --profile dev --bench elsewhere
	cargo bench --profile dev --bench freshness
	cargo bench --profile dev --bench ingest
	cargo bench --profile dev --bench keys
	cargo bench --profile dev --bench keys_bounded
	cargo bench --profile dev --bench patches
	cargo bench --profile dev --bench queries
	cargo bench --profile dev --bench reads
	cargo bench --profile dev --bench selective
	cargo bench --profile dev --bench ssb
	cargo bench --profile dev --bench text

soak: build             ## the oracles with other seeds, for hours; goes on where it was stopped
	scripts/soak

prepare:                ## system packages that the build needs; bounds the build cache
	@scripts/prepare
