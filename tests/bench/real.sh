#!/usr/bin/env bash
# Real people's sentences, with the micro student and with a model that others pretrained: `make real`.
# SHARED is a folder with data/literals/*.jsonl and models/stories260K; docs/sentences.md says where they come from.
set -euo pipefail
cd "$(dirname "$0")/../.."
SHARED=${SHARED:-../shared}
if [ ! -d "$SHARED/data/literals" ]; then
  echo "skipped: $SHARED/data/literals is not there (set SHARED=FOLDER)"
  exit 0
fi
run() { .venv/bin/humor-distill "$@"; }
run import "$SHARED/data/literals/self_dialogue.jsonl" --out data/literals/self_dialogue.jsonl --split-field split \
  --limit train=2000,validation=100,test=500 --licence BSD-3-Clause --source-name self_dialogue
run import "$SHARED/data/literals/taskmaster_coffee.jsonl" --out data/literals/taskmaster_coffee.jsonl --split ood \
  --licence CC-BY-4.0 --source-name taskmaster_coffee
run all --run real --config configs/real.toml
if [ -d "$SHARED/models/stories260K" ]; then
  # its vocabulary of 512 makes three times as many tokens of a sentence
  run all --run real-stories --config configs/real.toml --from real \
    --set "student.model=$(realpath "$SHARED/models/stories260K")" \
    --set sample.max_new_tokens=160 --set evaluate.max_new_tokens=160
else
  echo "skipped: $SHARED/models/stories260K is not there"
fi
