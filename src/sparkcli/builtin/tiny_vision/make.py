"""Makes builtin:tiny-vision from nothing: `python -m sparkcli.builtin.tiny_vision.make --out DIR --seed 0`.

About twenty-five minutes on one idle core. First the words are grounded: single things, then whole pictures to
list; only then the task's abilities are taught, with 15 % of terse demonstrations. The last stage sets the share of
terse ones, and with it the habit: with 12.5 % the model works out nearly everything, with 14.3 % it mostly answers at
once.

What comes out reads the pictures of the standard tier and calculates in writing nearly without error (98 % and more of
every ability), and mostly does not write: the base is mediocre by its habit, and training brings back what it can do.
On the hard tier, which it has seen less often than it would need, it errs in writing, too (69 to 88 %).
"""

from dataclasses import replace

from sparkcli.builtin.demonstrations import Mixture
from sparkcli.builtin.making import main
from sparkcli.builtin.tiny_vision import vocabulary
from sparkcli.builtin.tiny_vision.demonstrations import SUBJECT
from sparkcli.builtin.tiny_vision.warmstart import TinyVision
from sparkcli.builtin.warmstart import Stage

LOOKING = Mixture(careful=1.0, look=0.8, single=0.25, solve=0.2, judge=0.0, compare=0.0, reflect=0.0)
SINGLE = replace(LOOKING, look=1.0, single=1.0, solve=0.0)
CAREFUL = Mixture(careful=0.85, look=0.03, single=0.2, solve=0.25, judge=0.25, compare=0.22, reflect=0.23)
JUDGING = replace(CAREFUL, look=0.02, solve=0.22, judge=0.33, compare=0.22, reflect=0.21)
STAGES = (
    Stage(steps=250, mixture=SINGLE, rate=1.0, end_rate=1.0),
    Stage(steps=250, mixture=LOOKING, rate=1.0, end_rate=1.0),
    Stage(steps=600, mixture=replace(CAREFUL, look=0.06, compare=0.2, reflect=0.22), rate=1.0, end_rate=1.0),
    Stage(steps=400, mixture=CAREFUL, rate=0.8, end_rate=0.8),
    Stage(steps=350, mixture=CAREFUL, rate=0.8, end_rate=0.02),
    Stage(steps=350, mixture=JUDGING, rate=0.6, end_rate=0.02),
    Stage(steps=300, mixture=replace(JUDGING, look=0.0, judge=0.35), rate=0.5, end_rate=0.02),
    Stage(steps=60, mixture=Mixture(careful=0.857, judge=0.27, compare=0.25, reflect=0.23), rate=0.1, end_rate=0.01),
)

if __name__ == "__main__":
    main("tiny-vision", STAGES, SUBJECT, lambda seed: TinyVision(vocabulary.build(), seed))
