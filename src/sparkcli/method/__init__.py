"""The method itself: pure functions over records. No files, clock, global randomness, tensors or network in here.

answers     final answer of a completion           recycle     verified groups → judge, compare and reflect prompts
templates   wordings, checked and filled           judging     the model's verdicts on its own answers
draws       random numbers from (seed, keys)       reflecting  answer, self-judge, reflect, at test time
advantages  group-normalised rewards               metrics     proportions, pass@k, votes, judge rates

Axes in names: G samples of a group, B records of a batch, N any list.
"""
