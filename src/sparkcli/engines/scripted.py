"""A sampler without a network: deterministic, instant, torch-free. For dry runs, tests of pipelines, demonstrations.

It knows the gold answer and is right about six times in ten; otherwise it names a plausible other answer, or none
at all. What it says depends on (seed, prompt id, sample number, policy) alone. Its tokens are the bytes of its text,
so that a trainer with any vocabulary of 256 or more can read them, without an end marker; its log-probabilities are
drawn, and mean nothing.
"""

import random
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import sparkcli
from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines.groups import Sample, failed, how, sampled
from sparkcli.models.fingerprint import check_policy, policy_fingerprint
from sparkcli.records import Prompt, Rollout

RIGHT_SHARE = 0.6
NO_BOX_SHARE = 0.05

OPENINGS = {
    "solve": ("Let me work this out.", "Step by step:", "I add up what is given.", "First the known values."),
    "judge": ("I do the working again and compare.", "Checking the answer.", "I put it back into the question."),
    "compare": ("Comparing both answers with my own working.", "One of them fits the question better."),
    "reflect": ("Looking at the attempt again.", "I redo it from the start.", "The attempt needs a second look."),
}

OTHER_LABEL = {"yes": "No", "no": "Yes", "a": "B", "b": "A", "true": "False", "false": "True"}


class ScriptedEngine:
    """An `Engine` that makes its completions up."""

    def __init__(self, model: ModelConfig) -> None:
        self.name = Path(model.name).name  # where a folder lies must not change what is drawn
        self.load_policy(Path(model.policy) if model.policy else None)

    def sample(self, prompts: Iterable[Prompt], config: RolloutConfig) -> Iterator[list[Rollout]]:
        """One group per prompt, each as soon as it is asked for."""
        sampling = how(config, f"scripted/{sparkcli.__version__}")
        for prompt in prompts:
            read = _text(prompt).encode(errors="surrogatepass")
            if len(read) > config.max_prompt_tokens:
                yield failed(prompt, sampling, self.policy, f"prompt {prompt.id!r}: {len(read)} tokens are more than "
                             f"max_prompt_tokens ({config.max_prompt_tokens}); shorten it or raise --max-prompt-tokens")
            else:
                samples = [self._sample(prompt, number, config) for number in range(config.samples)]
                yield sampled(prompt, read, samples, sampling, self.policy)

    def load_policy(self, directory: Path | None) -> None:
        """From now on speaks as the policy in `directory`; None is the bare model."""
        if directory is not None:
            check_policy(directory)
        self.policy = policy_fingerprint(directory) if directory else f"scripted:{self.name}".rstrip(":")

    def rest(self) -> None:
        """Holds nothing."""

    def close(self) -> None:
        """Holds nothing."""

    def _sample(self, prompt: Prompt, number: int, config: RolloutConfig) -> Sample:
        # At temperature 0 there is nothing to draw: every sample is the same, whatever the seed.
        stream = f"{config.seed}\0{number}" if config.temperature else "greedy"
        key = f"{stream}\0{prompt.id}\0{self.policy}".encode(errors="surrogatepass")
        random_numbers = random.Random(sha256(key).digest())
        whole = _completion(prompt, random_numbers).encode(errors="surrogatepass")
        text = whole[:config.max_tokens].decode(errors="ignore")
        tokens = list(text.encode())
        logprobs = [-random_numbers.randrange(1, 2048) / 1024 for _ in tokens]
        return text, tokens, logprobs, "stop" if len(whole) <= config.max_tokens else "length"


def _completion(prompt: Prompt, random_numbers: random.Random) -> str:
    """A sentence, and a right, wrong or missing answer."""
    opening = random_numbers.choice(OPENINGS[prompt.task])
    fate = random_numbers.random()
    gold = prompt.answer if prompt.answer is not None else _guess(prompt, random_numbers)
    if fate < RIGHT_SHARE:
        return f"{opening} So the answer is \\boxed{{{gold}}}."
    if fate < 1 - NO_BOX_SHARE:
        return f"{opening} So the answer is \\boxed{{{_other(gold, random_numbers)}}}."
    return f"{opening} I cannot tell."


def _guess(prompt: Prompt, random_numbers: random.Random) -> str:
    """An answer to a prompt that has no gold answer: a label of the kind that is asked for, or a number."""
    if prompt.task == "compare":
        return random_numbers.choice(("A", "B"))
    if prompt.task == "judge":
        return random_numbers.choice(("Yes", "No") if "Yes" in _text(prompt) else ("A", "B"))
    return str(random_numbers.randrange(1, 100))


def _other(gold: str, random_numbers: random.Random) -> str:
    """A wrong answer of the kind of the right one: the other label, another letter, another number."""
    label = gold.strip().lower()
    if label in OTHER_LABEL:
        return OTHER_LABEL[label]
    if re.fullmatch("[a-z]", label):
        return random_numbers.choice([letter for letter in "ABCD" if letter.lower() != label])
    numbers = list(re.finditer(r"\d+", gold))
    if not numbers:
        return "0"
    first, step = numbers[0], random_numbers.randrange(1, 10)
    return f"{gold[:first.start()]}{int(first.group()) + step}{gold[first.end():]}"


def _text(prompt: Prompt) -> str:
    if isinstance(prompt.prompt, str):
        return prompt.prompt
    contents = [[{"type": "text", "text": content}] if isinstance(content, str) else content or []
                for content in (message.get("content") for message in prompt.prompt)]
    return "\n".join(part["text"] for content in contents for part in content if part["type"] == "text")
