"""Makes builtin:tiny-math from nothing: `python -m sparkcli.builtin.tiny_math.make --out DIR --seed 0`.

About a quarter of an hour on one idle core.

What comes out can do the arithmetic of the standard tier in writing, and mostly does not write: the base is mediocre
by its habit of answering at once. On the hard tier, which it has seen less often than it would need, it errs in
writing, too.
"""

from sparkcli.builtin.demonstrations import Mixture
from sparkcli.builtin.making import main
from sparkcli.builtin.tiny_math import vocabulary
from sparkcli.builtin.tiny_math.demonstrations import SUBJECT
from sparkcli.builtin.tiny_math.warmstart import TinyMath
from sparkcli.builtin.warmstart import Stage

CAREFUL = Mixture(careful=0.85)
STAGES = (
    Stage(steps=600, mixture=CAREFUL, rate=1.0, end_rate=1.0),
    Stage(steps=400, mixture=CAREFUL, rate=0.8, end_rate=0.8),
    Stage(steps=350, mixture=CAREFUL, rate=0.8, end_rate=0.02),
    Stage(steps=60, mixture=Mixture(careful=0.865), rate=0.1, end_rate=0.01),
)

if __name__ == "__main__":
    main("tiny-math", STAGES, SUBJECT, lambda seed: TinyMath(vocabulary.build(), seed))
