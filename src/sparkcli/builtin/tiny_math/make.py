"""Makes the built-in model from nothing: `python -m sparkcli.builtin.tiny_math.make --out DIR --seed 0`.

About a quarter of an hour on one idle core. Writes a plain Hugging Face folder; the log goes to stdout (that of the
shipped checkpoint is make.log). Bit-equal results need the same machine and version of torch.

What comes out can do the arithmetic of the standard tier in writing, and mostly does not write: the base is mediocre
by its habit of answering at once. On the hard tier, which it has seen less often than it would need, it errs in
writing, too.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from sparkcli.builtin.tiny_math import vocabulary, warmstart
from sparkcli.builtin.tiny_math.demonstrations import ABILITIES, Mixture, boxed, demonstrate
from sparkcli.builtin.tiny_math.warmstart import Stage

CAREFUL = Mixture(careful=0.85)
STAGES = (
    Stage(steps=600, mixture=CAREFUL, rate=1.0, end_rate=1.0),
    Stage(steps=400, mixture=CAREFUL, rate=0.8, end_rate=0.8),
    Stage(steps=350, mixture=CAREFUL, rate=0.8, end_rate=0.02),
    Stage(steps=60, mixture=Mixture(careful=0.865), rate=0.1, end_rate=0.01),
)
MEASURED = 150
MAX_NEW_TOKENS = 128


def main() -> None:
    """Trains, measures, saves."""
    parser = argparse.ArgumentParser(description="make the checkpoint of builtin:tiny-math")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", type=int, default=len(STAGES), help="stop after so many: a base that knows less")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    make(arguments.out, arguments.seed, STAGES[:arguments.stages])


def make(out: Path, seed: int, stages: Sequence[Stage] = STAGES) -> None:
    """Trains through the stages, logs the accuracies on held-out problems, writes the folder."""
    start = time.monotonic()

    def log(line: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s  {line}", flush=True)

    tokenizer = vocabulary.build()
    model = warmstart.new_model(tokenizer, seed)
    log(f"torch {torch.__version__}, seed {seed}, {model.num_parameters()} parameters, {len(tokenizer)} tokens")
    for number, stage in enumerate(stages):
        log(str(stage))
        warmstart.train(model, tokenizer, stage, seed + number, log)
    report(model, tokenizer, log)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def report(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, log: Callable[[str], None]) -> None:
    """Logs greedy accuracies on held-out problems: as the model answers, and where it is kept from being terse."""
    for tier, hard in (("standard", 0.0), ("hard", 1.0)):
        for manner, first in (("as it answers", None), ("made to work it out", [terse_token(tokenizer)])):
            log(f"greedy accuracy in percent, {tier} tier, {manner}: {measured(model, tokenizer, hard, first)}")


def terse_token(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that every terse reply begins with."""
    return tokenizer(boxed("")).input_ids[0]


def measured(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, hard: float, not_first: list[int] | None
) -> str:
    """Greedy accuracy in percent of each ability, on held-out problems of one tier."""
    rng = random.Random("measure")
    correct = dict.fromkeys(ABILITIES, 0)
    asked = dict.fromkeys(ABILITIES, 0)
    mixture = Mixture(careful=0.0, hard=hard)
    tests = [demonstrate(mixture, rng, held_out=True) for _ in range(len(ABILITIES) * MEASURED)]
    for start in range(0, len(tests), MEASURED):
        batch = tests[start : start + MEASURED]
        answers = replies(model, tokenizer, [test.prompt for test in batch], not_first)
        for test, reply in zip(batch, answers, strict=True):
            asked[test.ability] += 1
            correct[test.ability] += reply.endswith(test.reply)
    return ", ".join(f"{name} {100 * correct[name] / asked[name]:.1f} of {asked[name]}" for name in ABILITIES)


@torch.no_grad()
def replies(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, contents: list[str], not_first: list[int] | None
) -> list[str]:
    """Greedy replies to user messages, none of which begins with one of the tokens `not_first`."""
    prompts = [warmstart.chat(tokenizer, content) for content in contents]
    inputs = tokenizer(prompts, padding=True, return_tensors="pt")
    ids_BT = model.generate(  # type: ignore[misc]
        **inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, begin_suppress_tokens=not_first
    )
    return tokenizer.batch_decode(ids_BT[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)


if __name__ == "__main__":
    main()
