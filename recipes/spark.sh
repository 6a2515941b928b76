#!/usr/bin/env bash
# SPARK, every stage by hand: what `sparkcli loop RECIPE` does, and the same bytes.
#
#     recipes/spark.sh [RECIPE]                    # recipes/quickstart.toml
#     SPARKCLI_LOOP_STEPS=3 SPARKCLI_LOOP_OUT=/tmp/spark SPARKCLI_MODEL_ENGINE=scripted recipes/spark.sh
#
# Settings come from the recipe, and over it from SPARKCLI_<SECTION>_<KEY>. Only `loop` evaluates, resumes, removes old
# steps and loads the model once instead of in every stage.

set -euo pipefail
recipe=${1:-recipes/quickstart.toml}

settings=$(sparkcli loop "$recipe" --dry-run | sed -n '/^\[loop\]/,/^$/p')
setting() { sed -n "s/^$1 = //p" <<< "$settings" | tr -d '"'; }
stage() { sparkcli "$1" --recipe "$recipe" "${@:2}"; }

out=$(setting out)
steps=$(setting steps)
prompts_per_step=$(setting prompts_per_step)
queue_batch=$(setting queue_batch)
run_seed=$(setting seed)

mkdir -p "$out"
mkdir "$out/steps" "$out/policy"
prompts=$out/prompts.jsonl order=$out/order.jsonl queue=$out/queue.jsonl
stage prepare "$(setting prompts)" --limit $((steps * prompts_per_step)) --seed "$run_seed" --images "$out/images" \
  > "$prompts"
: > "$order" > "$queue"
while (($(wc -l < "$order") < steps * prompts_per_step)); do cat "$prompts" >> "$order"; done   # a line: a pass

policy=()
for ((step = 1; step <= steps; step++)); do
  at=$out/steps/$(printf %06d "$step") next=$out/policy/$(printf %06d "$step") seed=$((run_seed + step))
  mkdir "$at"

  # The policy update: sample, verify, train.
  sed -n "$(((step - 1) * prompts_per_step + 1)),$((step * prompts_per_step))p" "$order" |
    stage rollout --seed $seed "${policy[@]}" | tee "$at/rollouts.jsonl" | stage verify > "$at/scored.jsonl"
  stage train-step "$at/scored.jsonl" --seed $seed "${policy[@]}" -o "$at/policy"

  # The same rollouts become prompts with known answers, and wait their turn.
  stage recycle "$at/scored.jsonl" --seed $seed > "$at/recycled.jsonl"
  cat "$at/recycled.jsonl" >> "$queue"

  # The recycled update: once enough are waiting, the updated policy answers the first of them and is trained on that.
  if (($(wc -l < "$queue") >= queue_batch)); then
    head -n "$queue_batch" "$queue" | stage rollout --seed $seed --policy "$at/policy" |
      tee "$at/again-rollouts.jsonl" | stage verify > "$at/again-scored.jsonl"
    stage train-step "$at/again-scored.jsonl" --seed $seed --policy "$at/policy" -o "$next"
    tail -n +$((queue_batch + 1)) "$queue" > "$queue.rest" && mv "$queue.rest" "$queue"
    rm -r "$at/policy"
  else
    mv "$at/policy" "$next"
  fi
  cp "$queue" "$at/queue.jsonl"
  policy=(--policy "$next")
done
