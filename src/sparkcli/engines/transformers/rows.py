"""Completions as they grow, and the prompts that they continue."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from sparkcli.errors import InputError, SparkError
from sparkcli.models.sight import Placed


@dataclass(frozen=True)
class Rules:
    """How tokens are drawn, and which of them end a row."""

    temperature: float
    top_k: int
    top_p: float
    stop_ids: frozenset[int]


@dataclass(eq=False)
class Row:
    """One completion as it grows."""

    key: int
    """Of its random stream."""
    limit: int
    """Tokens at most."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stopped: bool = False
    """Whether the last token is an end marker."""
    error: InputError | None = None
    """Why there is nothing to continue: the prompt's images could not be read again."""

    @property
    def ended(self) -> bool:
        """Whether nothing is to come."""
        return self.stopped or self.error is not None or len(self.token_ids) == self.limit

    def add(self, token: int, logprob: float, stop_ids: frozenset[int]) -> None:
        """Takes the next token.

        Raises:
            SparkError: the network computed something that is no number.
        """
        if not math.isfinite(logprob):
            raise SparkError("the model's logits are not finite, so nothing can be sampled; its weights may be broken, "
                             "or float16 overflows: try --dtype bfloat16 or float32, or an earlier policy")
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        self.stopped = token in stop_ids

    def restart(self) -> None:
        """Forgets what it has; its random stream will give the same again."""
        self.token_ids.clear()
        self.logprobs.clear()


@dataclass(eq=False)
class Group:
    """Rows that continue one prompt."""

    prompt: Placed
    """Without pixels."""
    rows: Sequence[Row]
    patches: int = 0
    """Of its images."""
    pixels: Callable[[], Mapping[str, Tensor]] = dict
    """Fetches them, when the prompt is run; may raise InputError, which is about this prompt alone."""

    @property
    def token_ids(self) -> Sequence[int]:
        """The prompt's."""
        return self.prompt.token_ids

    @property
    def tokens(self) -> int:
        """Of the prompt and its longest completion, at most."""
        return len(self.token_ids) + max(row.limit for row in self.rows)

    def shown(self) -> Placed | None:
        """The prompt with its pixels; None where they cannot be had, which its rows are told."""
        try:
            return replace(self.prompt, pixels=self.pixels())
        except InputError as error:
            for row in self.rows:
                row.error = error
            return None
