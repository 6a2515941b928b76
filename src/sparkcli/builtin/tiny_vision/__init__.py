"""builtin:tiny-vision, a vision-language model small enough to train on a laptop, and the pictures it is trained on.

task.py             problems, their hold-out and their gold answers
pictures.py         the picture of a problem
demonstrations.py   what the warm start imitates: replies to every prompt wording
vocabulary.py       the tokenizer and the image processor
warmstart.py        the net, and how demonstrations become batches
make.py             makes checkpoint/ (the log of the shipped one: make.log)
"""
