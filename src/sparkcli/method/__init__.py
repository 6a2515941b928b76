"""The method itself: pure functions over records. No files, clock, global randomness, tensors or network.

answers     final answer of a completion             recycle     verified groups → new prompts
templates   wordings, checked and filled             judging     the model's verdicts on its own answers
prompts     wordings around a record → a new prompt  reflecting  answer, self-judge, reflect, at test time
draws       random numbers from (seed, keys)         metrics     proportions, pass@k, votes, judge rates
advantages  rewards, compared                        objectives  losses by name, and their averages

Axes in names: G samples of a group, B records of a batch, N any list.
"""
