"""The warm start: a Llama-shaped net of 0.8 million parameters learns to imitate demonstrations, from scratch.

Muon for the matrices inside the layers, AdamW for the rest; loss on the reply's tokens only. Sequences of
similar length share a batch, so that little is padded, and all batches weigh the same: a token of a short reply counts
about ten times as much as one of a long reply. Hence 15 % of terse demonstrations make terseness the habit.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sparkcli.builtin.tiny_math.demonstrations import Demonstration, Mixture, demonstrate

BATCH = 64
BUCKETS = 8
MUON_RATE, ADAMW_RATE = 0.02, 3e-3
WARMUP_STEPS = 20
LOG_EVERY = 50
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training on one mixture; the rate falls from `rate` to `end_rate` times the full one."""

    steps: int
    mixture: Mixture
    rate: float = 1.0
    end_rate: float = 0.0


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """An untrained net for this tokenizer, float32."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.update(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    stage: Stage,
    seed: int,
    log: Callable[[str], None],
) -> None:
    """Trains the model in place through one stage."""
    optimizers = _optimizers(model)
    losses: list[float] = []
    for step, batch in zip(range(stage.steps), _batches(tokenizer, stage.mixture, random.Random(seed)), strict=False):
        _set_rate(optimizers, stage, step)
        loss = _loss(model, *batch)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        if len(losses) == LOG_EVERY:
            log(f"step {step + 1:4d}  loss {sum(losses) / LOG_EVERY:.4f}")
            losses.clear()


def _optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    inside = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is q for q in inside)]
    return [
        torch.optim.Muon(inside, lr=MUON_RATE, weight_decay=0.0),
        torch.optim.AdamW(others, lr=ADAMW_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _set_rate(optimizers: list[torch.optim.Optimizer], stage: Stage, step: int) -> None:
    cosine = 0.5 * (1 + math.cos(math.pi * step / stage.steps))
    factor = stage.end_rate + (stage.rate - stage.end_rate) * cosine
    factor *= min(1.0, (step + 1) / WARMUP_STEPS)
    for optimizer, full in zip(optimizers, (MUON_RATE, ADAMW_RATE), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = full * factor


def _batches(
    tokenizer: PreTrainedTokenizerFast, mixture: Mixture, rng: random.Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Token ids and labels, [BATCH, T] each; labels are IGNORED outside the replies."""
    while True:
        examples = [demonstrate(mixture, rng) for _ in range(BATCH * BUCKETS)]
        pairs_N = sorted(_encode(tokenizer, examples), key=lambda pair: len(pair[0]) + len(pair[1]))
        buckets = [pairs_N[start : start + BATCH] for start in range(0, len(pairs_N), BATCH)]
        rng.shuffle(buckets)
        yield from (_padded(bucket, tokenizer.pad_token_id) for bucket in buckets)


def _encode(
    tokenizer: PreTrainedTokenizerFast, examples: list[Demonstration]
) -> list[tuple[list[int], list[int]]]:
    prompts = [chat(tokenizer, example.prompt) for example in examples]
    replies = [example.reply + tokenizer.eos_token for example in examples]
    encode = tokenizer.backend_tokenizer.encode_batch
    return [(prompt.ids, reply.ids) for prompt, reply in zip(encode(prompts), encode(replies), strict=True)]


def chat(tokenizer: PreTrainedTokenizerFast, content: str) -> str:
    """The text that the model reads for one user message."""
    messages = [{"role": "user", "content": content}]
    return str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))


def _padded(pairs: list[tuple[list[int], list[int]]], pad: int) -> tuple[Tensor, Tensor]:
    length = max(len(prompt) + len(reply) for prompt, reply in pairs)
    ids_BT = torch.full((len(pairs), length), pad)
    labels_BT = torch.full((len(pairs), length), IGNORED)
    for row, (prompt, reply) in enumerate(pairs):
        end = len(prompt) + len(reply)
        ids_BT[row, :end] = torch.tensor(prompt + reply)
        labels_BT[row, len(prompt) : end] = torch.tensor(reply)
    return ids_BT, labels_BT


def _loss(model: LlamaForCausalLM, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
    """Mean cross-entropy of the reply tokens."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden_BTD = model.model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
        chosen = labels_BT[:, 1:] != IGNORED
        logits_NV = model.lm_head(hidden_BTD[chosen])
    return torch.nn.functional.cross_entropy(logits_NV.float(), labels_BT[:, 1:][chosen])
