"""Log-probs of completions by a plain forward pass in float32: `python -m sides.sampling.score JOB ROWS OUT`."""

import sys
from dataclasses import replace
from pathlib import Path

import orjson
import torch
from inputs.sampling import Job
from sides.sampling.generate import load


@torch.no_grad()
def main(job_file: str, rows_file: str, out: str) -> None:
    """Of the groups of completions of the job's first prompts."""
    job = replace(Job.load(Path(job_file)), dtype="float32")
    groups: list[list[list[int]]] = orjson.loads(Path(rows_file).read_bytes())
    model = load(job)

    def score(prompt: list[int], completion: list[int]) -> list[float]:
        ids_1S = torch.tensor([prompt + completion], device=job.device)
        logits_TV = model(ids_1S, logits_to_keep=len(completion) + 1).logits[0, :-1].float()
        logprobs_T: list[float] = logits_TV.log_softmax(-1).gather(1, ids_1S[0, len(prompt):, None])[:, 0].tolist()
        return logprobs_T

    scores = [score(prompt, row) for prompt, group in zip(job.prompts, groups, strict=False) for row in group]
    Path(out).write_bytes(orjson.dumps(scores))


if __name__ == "__main__":
    main(*sys.argv[1:])
