"""What a picture shows and what is asked of it."""

from dataclasses import dataclass
from typing import Literal

from sparkcli.builtin.streams import Value, is_held_out

Family = Literal["numbers", "bars"]

COLOURS = ("red", "blue", "green", "black", "orange", "purple")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem without its wording: the sum over `asked` of factor times value."""

    family: Family
    shown: tuple[tuple[str, int], ...]
    """Colour and value of each thing in the picture: a number or a height."""
    asked: tuple[tuple[str, int], ...]
    """Colour and factor of each term of the answer; a sign, or the chart's scale."""
    layout: int = 0
    """Which of the many arrangements of the same things the picture has."""

    @property
    def canonical(self) -> tuple[object, ...]:
        """What is shown and asked, without order and arrangement."""
        return (self.family, *sorted(self.shown), *sorted(self.asked))

    @property
    def held_out(self) -> bool:
        """Whether the problem is kept from every training split."""
        return is_held_out(self.canonical)

    @property
    def value(self) -> Value:
        """The answer."""
        shown = dict(self.shown)
        return sum(factor * shown[colour] for colour, factor in self.asked), 1
