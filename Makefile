# quantswarm: each target is one line that calls the command of the same name.
# An empty variable passes no flag, so the command's own default holds.

ENGINE     ?=#   vllm, llamacpp, transformers, onnxruntime …     (make engines lists them)
QUANT      ?=#   fp32, bf16, gptq, awq, int8, fp8-kv, f16, q8_0, q4_k_m, int8-dynamic, bnb-nf4, onnx-int8 …
MODEL      ?=#   tiny, synthetic/0.5b, a catalogue name, a folder, a .gguf file
PORT       ?=#   where make serve listens, on loopback
USERS      ?=#   concurrent users of make swarm
RATE       ?=#   requests a second offered (open loop), in place of USERS (closed loop)
DURATION   ?=#   seconds of the measured window
OUT        ?=#   run folder to write; for report, the one to read; for compare, some
MATRIX     ?=#   matrix file of make bench
GPU_LAYERS ?=#   all, half, none, or a number: layers to put on the GPU
USE_CASE   ?=#   of make recommend: chat, code, maths, long-context, edge
ARGS       ?=#   anything else, passed on as it stands

PYTHON ?= $(shell command -v python3.11 || command -v python3)

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help setup bench serve swarm saturate quality physics verify test test-fast lint format doctor report compare recommend selftest engines tiny clean

# In a recipe, $(call flag,--users,$(USERS)) is "--users 8", or nothing when USERS is empty.
# There is no shell syntax in the recipes: make then starts the command itself, and a signal to
# make reaches it.
flag = $(if $(strip $(2)),$(1) $(strip $(2)))
quantswarm := .venv/bin/quantswarm
what := $(call flag,--engine,$(ENGINE)) $(call flag,--quant,$(QUANT)) $(call flag,--model,$(MODEL))
out := $(call flag,--out,$(OUT))
gpu := $(call flag,--gpu-layers,$(GPU_LAYERS))

help: ## this help
	@awk 'BEGIN {FS = ":.*## "; print "make TARGET [VARIABLE=value …]\n"} \
	  /^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2} \
	  /^[A-Z_]+ *\?=#/ {split($$0, part, / *\?=# */); vars = vars sprintf("  %-11s %s\n", part[1], part[2])} \
	  END {print "\nVariables\n"; printf "%s", vars}' $(firstword $(MAKEFILE_LIST))

setup: ## environment and engines, once (every other target does this first)
	@$(PYTHON) -I engines/provision

bench: setup ## the main job: every cell of the matrix, then the report
	@$(quantswarm) bench $(call flag,--matrix,$(MATRIX)) $(out) $(ARGS)

serve: setup ## start ENGINE with QUANT of MODEL on loopback, until Ctrl-C
	@$(quantswarm) serve $(what) $(call flag,--port,$(PORT)) $(gpu) $(ARGS)

swarm: setup ## one cell: load against one server
	@$(quantswarm) swarm $(what) $(call flag,--users,$(USERS)) $(call flag,--rate,$(RATE)) $(call flag,--duration,$(DURATION)) $(gpu) $(out) $(ARGS)

saturate: setup ## the highest rate at which a server keeps its objectives (SLOs)
	@$(quantswarm) saturate $(what) $(call flag,--duration,$(DURATION)) $(gpu) $(out) $(ARGS)

quality: setup ## how much worse a served variant answers: perplexity, KL divergence, tasks
	@$(quantswarm) quality $(what) $(gpu) $(ARGS)

physics: setup ## what this machine could do at best with a variant
	@$(quantswarm) physics $(what) $(call flag,--users,$(USERS)) $(ARGS)

verify: setup ## is a served variant what it says? its log-probabilities against a float32 reference
	@$(quantswarm) verify $(what) $(gpu) $(ARGS)

report: setup ## judge the run in OUT again, from its raw records
	@$(quantswarm) report $(OUT) $(ARGS)

compare: setup ## variants of the runs in OUT="dir dir" against each other
	@$(quantswarm) compare $(OUT) $(ARGS)

recommend: setup ## the variant to run, out of the runs in OUT="dir dir", for USE_CASE
	@$(quantswarm) recommend $(OUT) $(call flag,--use-case,$(USE_CASE)) $(call flag,--users,$(USERS)) $(ARGS)

selftest: setup ## the harness against a server of known latency, in three minutes
	@$(quantswarm) selftest $(ARGS)

engines: setup ## what can run here, and why the rest cannot
	@$(quantswarm) engines $(ARGS)

doctor: setup ## what this machine has, what it lacks, and the cure
	@$(quantswarm) doctor $(ARGS)

test: setup ## every test, those with the real engines too
	@.venv/bin/pytest $(ARGS)

test-fast: setup ## tests that need no engine
	@.venv/bin/pytest -m "not engines" $(ARGS)

lint: setup ## ruff, its formatting, and mypy --strict
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@mkdir -p build/typing/quantswarm
	@ln -sfn ../../../models ../../../engines ../../../bench build/typing/quantswarm/
	@.venv/bin/mypy --strict -p quantswarm
	@.venv/bin/mypy --strict tests compose

format: setup ## let ruff rewrite what it can
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

tiny: setup ## train the embedded model again (an hour or more; into OUT, or build/tiny)
	@.venv/bin/python -m quantswarm.models.train.run --out $(or $(OUT),build/tiny) $(ARGS)

clean: ## remove caches and build output; keeps .venv, runs and the model cache
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis quantswarm.egg-info
	@find models engines bench tests -name __pycache__ -type d -prune -exec rm -rf {} +
