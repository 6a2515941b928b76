"""One update of a model in `argv[1]`, written to `argv[2]`, in a process that may grow by `argv[3]` MiB only.

Standard output: the token budget at the end. `argv[4]`: tokens of each completion.
"""

import logging
import resource
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.models.policy import load
from sparkcli.training.batches import MicroBatch, Part
from sparkcli.training.forward import Scorer
from sparkcli.training.memory import MIB, Budget, return_freed_memory
from sparkcli.training.samples import Sample


def parts(length: int) -> list[Part]:
    return [[Sample(id=f"p{g}", number=n, task="solve", prompt_T=tuple(range(3, 43)), reward=1.0, temperature=1.0,
                    completion_T=tuple(3 + (g * 7 + n + t * t) % 40 for t in range(length)),
                    logprobs_T=(-1.0,) * length, advantage=(-1.0) ** n) for n in range(4)] for g in range(16)]


def limit_growth(mebibytes: int) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + mebibytes * MIB,) * 2)


def main(model: str, out: str, mebibytes: int, length: int) -> None:
    logging.basicConfig(format="%(levelname)s %(message)s")
    return_freed_memory()  # else the limit is not felt before what was freed earlier is used up
    policy = load(ModelConfig(name=model, device="cpu"))
    network = policy.network.requires_grad_(True)
    scorer = Scorer(network, network, checkpointing=False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)

    def compute(batch: MicroBatch) -> None:
        scores = scorer(batch, entropy="none")
        advantages_B1 = torch.tensor([[sample.advantage] for sample in batch.samples])
        (-(scores.logprobs_BT * advantages_B1).sum() / 1000).backward()

    with scorer.updating():
        compute(MicroBatch(parts(2)[:1]))  # whatever is made once is made by now
        optimizer.zero_grad()
        if mebibytes:
            limit_growth(mebibytes)
        budget = Budget(TrainConfig().tokens_per_batch, scorer.way)
        budget.spend(parts(length), compute, undo=optimizer.zero_grad)
    optimizer.step()
    save_file({name: tensor.detach().clone() for name, tensor in network.named_parameters()}, out)
    print(budget.tokens)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
