"""The policy update: records → samples → updates → micro-batches → loss → AdamW.

    samples.py    scored rollouts, checked
    sights.py     their images: the same as when they were sampled, and where they stand
    mismatch.py   how far their sampler is from the policy: importance weights, and a report
    targets.py    what a phase wants of each sample: advantage, weight, whether it counts
    batches.py    the deal: updates of whole groups, micro-batches under a token budget
    forward.py    log-probabilities and entropies of a micro-batch, prompts computed once
    packed.py     the forward pass without padding
    losses.py     surrogates and KL
    optimizer.py  AdamW in float32, its schedule, its state as named tensors
    processes.py  who computes what where several train together; shards.py cuts the weights
    memory.py     what runs out, and is then halved
    metrics.py    what a phase reports
    step.py       one phase on a policy in place
    plan.py       what a phase would do: outline.py, a policy without numbers; estimate.py, the memory it would take
"""
