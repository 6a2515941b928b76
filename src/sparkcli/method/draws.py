"""Random numbers that depend on a seed and on what they are for, and on nothing else."""

import hashlib
import json
import random


def rng(seed: int, *keys: str | int) -> random.Random:
    """A generator of its own for (seed, keys): same arguments, same draws, in whatever order things are done.

    >>> rng(0, "prompt-1", "judge").random() == rng(0, "prompt-1", "judge").random()
    True
    >>> rng(0, "prompt-1", "judge").random() == rng(1, "prompt-1", "judge").random()
    False
    """
    digest = hashlib.sha256(json.dumps([seed, *keys]).encode()).digest()
    return random.Random(int.from_bytes(digest[:16], "big"))
