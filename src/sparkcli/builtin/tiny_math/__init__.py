"""builtin:tiny-math, a model small enough to train on a laptop, and the arithmetic that it is trained on.

task.py             problems, their hold-out and their gold answers
workings.py         written arithmetic: correct workings, and workings with one slip
demonstrations.py   what the warm start imitates: replies to every prompt wording
vocabulary.py       the tokenizer: bytes, and one token for each fixed phrase
warmstart.py        the training loop of the warm start, and its measurements
make.py             makes checkpoint/ (the log of the shipped one: make.log)
"""
