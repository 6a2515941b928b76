"""Makes builtin:tiny-vision from nothing: `python -m sparkcli.builtin.tiny_vision.make --out DIR --seed 0`."""

from sparkcli.builtin.demonstrations import Mixture
from sparkcli.builtin.making import main
from sparkcli.builtin.tiny_vision import vocabulary
from sparkcli.builtin.tiny_vision.demonstrations import SUBJECT
from sparkcli.builtin.tiny_vision.warmstart import TinyVision
from sparkcli.builtin.warmstart import Stage

STAGES = (
    Stage(steps=250, mixture=Mixture(careful=1.0, look=1.0, single=1.0, solve=0.0, judge=0.0, compare=0.0, reflect=0.0),
          rate=1.0, end_rate=1.0),
)

if __name__ == "__main__":
    main("tiny-vision", STAGES, SUBJECT, lambda seed: TinyVision(vocabulary.build(), seed))
