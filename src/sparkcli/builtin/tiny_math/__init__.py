"""builtin:tiny-math, a model small enough to train on a laptop, and the arithmetic that it is trained on.

task.py             problems, their hold-out and their gold answers
demonstrations.py   how they are worked out in writing
vocabulary.py       the tokenizer
warmstart.py        the net, and how it reads a batch
make.py             makes checkpoint/ (the log of the shipped one: make.log)
"""
