"""builtin:tiny-vision, a vision-language model small enough to train on a laptop, and the pictures it is trained on.

task.py             problems, their hold-out and their gold answers
pictures.py         the picture of a problem
demonstrations.py   how they are read and worked out in writing
vocabulary.py       the tokenizer and the image processor
warmstart.py        the net, and how it reads a batch
make.py             makes checkpoint/ (the log of the shipped one: make.log)
"""
