"""The net of builtin:tiny-math: Llama-shaped, 0.8 million parameters, and how it reads a batch."""

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sparkcli.builtin.demonstrations import Demonstration
from sparkcli.builtin.making import Net
from sparkcli.builtin.tiny_math.task import Problem
from sparkcli.builtin.warmstart import Ids, imitation_loss, padded

Batch = tuple[Tensor, Tensor]


class TinyMath(Net[Problem, Batch]):
    """Reads text."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
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
        super().__init__(LlamaForCausalLM(config), tokenizer)

    def content(self, example: Demonstration[Problem]) -> str:
        """The text alone."""
        return example.prompt

    def batch(self, rows: list[tuple[Demonstration[Problem], Ids]]) -> Batch:
        """Token ids and labels."""
        return padded([ids for _, ids in rows], self.pad)

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the reply tokens, in bfloat16."""
        ids_BT, labels_BT = batch
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden_BTD = self.model.model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
            return imitation_loss(self.model, hidden_BTD, labels_BT)

    def inputs(self, examples: list[Demonstration[Problem]]) -> dict[str, Tensor]:
        """What `generate` reads."""
        return self.tokenized(examples)
