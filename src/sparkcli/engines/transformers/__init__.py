"""Sampling in this process with transformers.

    engine.py    prompts in, groups out             attention.py  a prompt's keys read once for all its rows
    budget.py    what is held at once               cache.py      where keys and values are
    decoding.py  rows leave and prompts join        draws.py      random streams, and the distribution drawn from
"""
