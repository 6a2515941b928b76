"""The policy update: records → samples → mini-batches → loss → AdamW.

    samples.py   scored rollouts, checked, with their advantages
    batches.py   the deal: mini-batches of equal size, micro-batches under a token budget
    forward.py   log-probabilities of a micro-batch's completions, prompts computed once
    packed.py    the forward pass without padding
    losses.py    the objective
    optimizer.py AdamW, its schedule, its state as named tensors
    metrics.py   what a phase reports
    step.py      one phase on a policy in place
"""
