"""Makes a built-in model from nothing: trains it through its stages, measures it, writes a plain Hugging Face folder.

The log goes to stdout (that of each shipped checkpoint is its make.log). Bit-equal results need the same machine and
version of torch.
"""

import argparse
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from sparkcli.builtin.demonstrations import ABILITIES, Ability, Demonstration, Mixture, Subject, boxed
from sparkcli.builtin.streams import P
from sparkcli.builtin.warmstart import Ids, Stage, buckets, ids, train

MEASURED = 150
MAX_NEW_TOKENS = 128
B = TypeVar("B")


class Net(ABC, Generic[P, B]):
    """A network with its tokenizer, and how it reads demonstrations."""

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
        model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
        self.model, self.tokenizer = model, tokenizer
        self.pad: int = tokenizer.pad_token_id

    @abstractmethod
    def content(self, example: Demonstration[P]) -> Any:
        """Content of the user message."""

    @abstractmethod
    def batch(self, rows: list[tuple[Demonstration[P], Ids]]) -> B:
        """What `loss` reads."""

    @abstractmethod
    def loss(self, batch: B) -> Tensor:
        """Mean cross-entropy of the reply tokens."""

    @abstractmethod
    def inputs(self, examples: list[Demonstration[P]]) -> dict[str, Tensor]:
        """What `generate` reads of the prompts."""

    def chat(self, example: Demonstration[P]) -> str:
        """The text that the model reads."""
        messages = [{"role": "user", "content": self.content(example)}]
        return str(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def tokenized(self, examples: list[Demonstration[P]]) -> dict[str, Tensor]:
        """Token ids of the prompts and their mask, [N, T] each, padded on the left."""
        return dict(self.tokenizer([self.chat(example) for example in examples], padding=True, return_tensors="pt"))

    def batches(self, subject: Subject[P], mixture: Mixture, rng: random.Random) -> Iterator[B]:
        """Batches of demonstrations, endlessly."""
        return map(self.batch, buckets(subject, mixture, self.ids, rng))

    def ids(self, examples: list[Demonstration[P]]) -> list[Ids]:
        """Token ids of prompts and replies."""
        return ids(self.tokenizer, [self.chat(example) for example in examples], [e.reply for e in examples])

    def save(self, out: Path) -> None:
        """Writes the folder."""
        self.tokenizer.backend_tokenizer.no_padding()  # which `inputs` has turned on
        self.model.save_pretrained(out)
        self.tokenizer.save_pretrained(out)


def main(name: str, stages: Sequence[Stage], subject: Subject[P], new: Callable[[int], Net[P, B]]) -> None:
    """The command line: trains, measures, saves."""
    parser = argparse.ArgumentParser(description=f"make the checkpoint of builtin:{name}")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", type=int, default=len(stages), help="stop after so many: a base that knows less")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    make(arguments.out, arguments.seed, stages[:arguments.stages], subject, new(arguments.seed))


def make(out: Path, seed: int, stages: Sequence[Stage], subject: Subject[P], net: Net[P, B]) -> None:
    """Trains through the stages, logs the accuracies on held-out problems, writes the folder."""
    start = time.monotonic()

    def log(line: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s  {line}", flush=True)

    size = f"{net.model.num_parameters()} parameters, {len(net.tokenizer)} tokens"
    log(f"torch {torch.__version__}, seed {seed}, {size}")
    for number, stage in enumerate(stages):
        log(str(stage))
        train(net.model, net.batches(subject, stage.mixture, random.Random(seed + number)), net.loss, stage, log)
    report(net, subject, log)
    net.save(out)


def report(net: Net[P, B], subject: Subject[P], log: Callable[[str], None]) -> None:
    """Logs greedy accuracies on held-out problems: as the model answers, and where it is kept from being terse."""
    for tier, hard in (("standard", 0.0), ("hard", 1.0)):
        for manner, first in (("as it answers", None), ("made to work it out", [terse_token(net.tokenizer)])):
            log(f"greedy accuracy in percent, {tier} tier, {manner}: {measured(net, subject, hard, first)}")


def terse_token(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that every terse reply begins with."""
    first: int = tokenizer(boxed("")).input_ids[0]
    return first


def measured(net: Net[P, B], subject: Subject[P], hard: float, not_first: list[int] | None) -> str:
    """Greedy accuracy in percent of each ability, on held-out problems of one tier."""
    rng = random.Random("measure")
    abilities: list[Ability] = [ability for ability in ABILITIES if ability != "look"]
    correct, asked = dict.fromkeys(abilities, 0), dict.fromkeys(abilities, 0)
    mixture = Mixture(careful=0.0, hard=hard)
    tests = [subject.demonstrate(mixture, rng, held_out=True) for _ in range(len(abilities) * MEASURED)]
    for start in range(0, len(tests), MEASURED):
        batch = tests[start : start + MEASURED]
        for test, reply in zip(batch, replies(net, batch, not_first), strict=True):
            asked[test.ability] += 1
            correct[test.ability] += reply.endswith(test.reply)
    return ", ".join(f"{name} {100 * correct[name] / asked[name]:.1f} of {asked[name]}" for name in abilities)


@torch.no_grad()
def replies(net: Net[P, B], examples: list[Demonstration[P]], not_first: list[int] | None) -> list[str]:
    """Greedy replies, none of which begins with one of the tokens `not_first`."""
    inputs = net.inputs(examples)
    ids_BT = net.model.generate(
        **inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, begin_suppress_tokens=not_first
    )
    return net.tokenizer.batch_decode(ids_BT[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
