.PHONY: help setup fmt lint test e2e faults up down logs bench openapi docs
.DEFAULT_GOAL := help
PY := .venv/bin/python

help: ## Show this list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

setup: ## Make .venv with the development tools
	./scripts/setup dev

fmt: setup ## Format the code
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .

lint: setup ## ruff, mypy, import-linter and the size gates
	$(PY) scripts/run_suites.py ruff mypy imports sizes

test: setup ## Every suite, with a table
	$(PY) scripts/run_suites.py libs cli orchestrator image-service reconstruction-service tsr postprocess-service contract e2e attacks faults

e2e: setup ## Only the whole mesh
	$(PY) scripts/run_suites.py e2e

faults: setup ## Break everything on purpose; FULL=1 for twenty repetitions of each fault
	$(PY) scripts/run_suites.py faults

up: setup ## Start the mesh as local processes
	.venv/bin/scratch3d up

down: ## Stop the containers
	docker compose down

logs: ## Follow the containers' logs
	docker compose logs -f

bench: setup ## Run the benchmarks and print their tables
	$(PY) benchmarks/reconstruction.py && $(PY) benchmarks/unwrap.py && $(PY) benchmarks/oracle.py && $(PY) benchmarks/matting.py && $(PY) benchmarks/inflate.py && $(PY) benchmarks/soft_hull.py && $(PY) benchmarks/stages.py && $(PY) benchmarks/triposr.py && $(PY) benchmarks/control_plane.py

openapi: setup ## Write the committed OpenAPI documents anew
	$(PY) scripts/write_openapi.py

docs: setup ## Write the generated parts of docs/ anew
	$(PY) scripts/write_docs.py
