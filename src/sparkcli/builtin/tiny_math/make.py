"""Makes the built-in model from nothing: `python -m sparkcli.builtin.tiny_math.make --out DIR --seed 0`.

About twelve minutes on one idle core. Writes a plain Hugging Face folder; the log goes to stdout (that of the shipped
checkpoint is make.log). Bit-equal results need the same machine, torch version and number of threads.
"""

import argparse
import itertools
import random
import time
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from sparkcli.builtin.tiny_math import vocabulary, warmstart
from sparkcli.builtin.tiny_math.demonstrations import ABILITIES, Mixture, demonstrate
from sparkcli.builtin.tiny_math.warmstart import Stage

CAREFUL, MOSTLY_TERSE = Mixture(careful=0.85), Mixture(careful=0.35)
STAGES = {
    "skills": (
        Stage(steps=600, mixture=CAREFUL, rate=1.0, end_rate=1.0),
        Stage(steps=400, mixture=CAREFUL, rate=0.8, end_rate=0.8),
        Stage(steps=350, mixture=CAREFUL, rate=0.8, end_rate=0.02),
    ),
    "habits": (Stage(steps=80, mixture=MOSTLY_TERSE, rate=0.1, end_rate=0.01),),
}
"""What is learnt, and then how it is mostly used; the accuracies are measured after each of the two."""
MEASURED = 150
MAX_NEW_TOKENS = 128


def main() -> None:
    """Trains, measures, saves."""
    parser = argparse.ArgumentParser(description="make the checkpoint of builtin:tiny-math")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    make(arguments.out, arguments.seed)


def make(out: Path, seed: int) -> None:
    """Trains through the stages, logs the accuracies on held-out problems, writes the folder."""
    start = time.monotonic()

    def log(line: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s  {line}", flush=True)

    tokenizer = vocabulary.build()
    model = warmstart.new_model(tokenizer, seed)
    log(f"torch {torch.__version__}, seed {seed}, {model.num_parameters()} parameters, {len(tokenizer)} tokens")
    seeds = itertools.count(seed)
    for name, stages in STAGES.items():
        for stage in stages:
            log(f"{name}: {stage}")
            warmstart.train(model, tokenizer, stage, next(seeds), log)
        log(f"greedy accuracy after {name}, in percent: standard tier: {measured(model, tokenizer, 0.0)}")
        log(f"greedy accuracy after {name}, in percent: hard tier: {measured(model, tokenizer, 1.0)}")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def measured(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, hard: float) -> str:
    """Greedy accuracy in percent of each ability, on held-out problems of one tier."""
    rng = random.Random("measure")
    correct = dict.fromkeys(ABILITIES, 0)
    asked = dict.fromkeys(ABILITIES, 0)
    mixture = Mixture(careful=0.0, hard=hard)
    tests = [demonstrate(mixture, rng, held_out=True) for _ in range(len(ABILITIES) * MEASURED)]
    for start in range(0, len(tests), MEASURED):
        batch = tests[start : start + MEASURED]
        for test, reply in zip(batch, replies(model, tokenizer, [test.prompt for test in batch]), strict=True):
            asked[test.ability] += 1
            correct[test.ability] += reply.endswith(test.reply)
    return ", ".join(f"{name} {100 * correct[name] / asked[name]:.1f} of {asked[name]}" for name in ABILITIES)


@torch.no_grad()
def replies(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, contents: list[str]) -> list[str]:
    """Greedy replies to user messages."""
    prompts = [warmstart.chat(tokenizer, content) for content in contents]
    inputs = tokenizer(prompts, padding=True, return_tensors="pt")
    ids_BT = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)  # type: ignore[misc]
    return tokenizer.batch_decode(ids_BT[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)


if __name__ == "__main__":
    main()
