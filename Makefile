# redisX. `make` lists the targets; the steps are in scripts/.

FUZZTIME ?= 10s

.DEFAULT_GOAL := help
.PHONY: help test check generate fuzz bench demo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## check, then all tests under the race detector, on real servers
	@scripts/need server race servers
	@scripts/check
	@scripts/test

check: ## format, vet, layout rules, generated code up to date; needs no server
	@scripts/check

generate: ## write the generated files anew
	go generate work

fuzz: ## every fuzz target for FUZZTIME (10s)
	@scripts/fuzz $(FUZZTIME)

bench: ## the benchmarks of bench/
	go -C bench test -run '^$$' -bench . ./...

demo: ## the story on all primitives, with checked verdicts
	go run ./cmd/redisx demo
