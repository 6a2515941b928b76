"""What a plain transformers model says of completions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

Rows = Sequence[dict[str, Any]]
"""Rollouts, as JSON has them."""


def load_plain(folder: Path) -> Any:
    """The model in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def logprobs_of(model: Any, rows: Rows) -> list[list[float]]:
    """Of the completions' tokens, by one forward pass over the whole sequences, padded on the right."""
    texts = [[*row["prompt_token_ids"], *row["token_ids"]] for row in rows]
    longest = max(map(len, texts))
    ids_BT = torch.tensor([ids + [0] * (longest - len(ids)) for ids in texts])
    logprobs_BTV = model(ids_BT).logits[:, :-1].log_softmax(-1)
    logprobs_BT = logprobs_BTV.gather(2, ids_BT[:, 1:, None])[..., 0]
    starts = [len(row["prompt_token_ids"]) - 1 for row in rows]
    return [logprobs_T[start:start + len(row["token_ids"])].tolist()
            for logprobs_T, start, row in zip(logprobs_BT, starts, rows, strict=True)]


@torch.no_grad()
def greedy(model: Any, row: dict[str, Any]) -> list[int]:
    """As many tokens after a rollout's prompt as it has, by transformers' own `generate`."""
    prompt_1S = torch.tensor([row["prompt_token_ids"]])
    found_1S = model.generate(prompt_1S, attention_mask=torch.ones_like(prompt_1S), do_sample=False,
                              max_new_tokens=len(row["token_ids"]))
    return found_1S[0, prompt_1S.shape[1]:].tolist()
