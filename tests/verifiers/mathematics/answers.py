r"""Answers made up from a seed, with all that can stand in one: also what is read in two ways, and what is broken."""

import random
from collections.abc import Callable, Iterator

_NUMBERS = ("0", "1", "2", "3", "4", "5", "7", "8", "10", "12", "15", "100", "0.5", "2.5", "1.25", "3.0", ".5", "1000")
_LETTERS = ("x", "x", "y", "z", "n", "k", "a", "b", "t")
_LEAVES = (r"\pi", r"2\pi", "-3", r"\sqrt{2}", r"\sqrt3", "3x", "xy", "e", "i", r"\infty", "5m", "x_1", "2s",
           r"\theta", "ab", r"3\frac{1}{2}", "2 1/2", "1,000", "f(x)", "2pi", "sqrt(5)", "2*sqrt(3)",
           "12:30", r"\mathrm{i}", "0,5")
_RESPELLINGS = (("pmatrix", "bmatrix"), ("0.5", r"\frac{1}{2}"), ("+", " + "), (",", ", "), (r"\dfrac", r"\frac"),
                ("12", r"\frac{24}{2}"), ("3", "4"), ("5", "(7-2)"), ("8", "2^3"), ("7", r"\frac{14}{2}"),
                (r"\pi", r"\frac{2\pi}{2}"), ("x", "(2x-x)"), ("4", r"\sqrt{16}"))
_UNITS = (r"\text{ cm}", r" \text{ m}", r"^\circ", r"^{\circ}", r"\mathrm{~kg}", " m", " cm",
          r"\text{ cm}^2", " cm^2", " kg", r"\%", ".")


def pairs(*, seed: int, count: int) -> Iterator[tuple[str, str]]:
    """Two answers: the second is the first in another spelling, or with a fault in it, or another one."""
    numbers = random.Random(seed)
    for _ in range(count):
        gold, kind = _answer(numbers), numbers.random()
        answer = _respelled(numbers, gold) if kind < 0.6 else _answer(numbers)
        if kind < 0.2:
            answer = _damaged(numbers, answer)
        yield (gold, answer) if numbers.random() < 0.7 else (answer, gold)


def _answer(numbers: random.Random) -> str:
    def item() -> str:
        return _scalar(numbers, numbers.choice((0, 0, 0, 1)))

    comma = numbers.choice((",", ", "))
    return numbers.choice((
        *[lambda: _scalar(numbers, numbers.choice((0, 1, 1, 2)))] * 5,
        lambda: f"({item()}{comma}{item()})", lambda: f"[{item()}{comma}{item()})",
        lambda: f"[{item()}{comma}{item()}]",
        lambda: rf"\{{{comma.join(item() for _ in range(numbers.randint(1, 4)))}\}}",
        lambda: comma.join((item(), item())), lambda: comma.join((item(), item(), item())),
        lambda: f"({item()}{comma}{item()}{comma}{item()})", lambda: _matrix(numbers, item),
        lambda: f"{numbers.choice('xyzn')} = {item()}", lambda: f"{item()}={item()}", lambda: f"x=1{comma}y={item()}",
        lambda: f"x={item()}{comma}x={item()}", lambda: f"({item()},{item()}),({item()},{item()})",
        lambda: rf"\left({item()}, \infty\right)", lambda: rf"(-\infty,{item()}]", lambda: f"f(x) = {item()}",
        lambda: rf"(-\infty,{item()}) \cup [{item()}{comma}{item()})",
        lambda: item() + numbers.choice(_UNITS), lambda: item() + numbers.choice(_UNITS),
        lambda: rf"{item()} \pm {item()}", lambda: rf"\frac{{{item()} \pm {item()}}}{{2}}",
        lambda: item() + _matrix(numbers, item), lambda: rf"\${item()}", lambda: f"{item()}**2",
        lambda: ",".join(str(numbers.randrange(20)) for _ in range(3)),
        lambda: numbers.choice(("1.414214", "1.4142136", "3.141593", "3.14159", "0.333333", "0.3333337", "1.732051")),
        lambda: numbers.choice((r"\sqrt{2}", r"\pi", r"\frac{1}{3}", r"\sqrt3"))))()


def _matrix(numbers: random.Random, item: Callable[[], str]) -> str:
    rows, columns = numbers.choice(((1, 2), (2, 1), (2, 2), (1, 1), (3, 1)))
    name = numbers.choice(("pmatrix", "bmatrix", "matrix"))
    content = r" \\ ".join(" & ".join(item() for _ in range(columns)) for _ in range(rows))
    return rf"\begin{{{name}}} {content} \end{{{name}}}"


def _scalar(numbers: random.Random, depth: int) -> str:
    number = numbers.choice(_NUMBERS)
    if depth == 0 or numbers.random() < 0.25:
        return numbers.choice((*[number] * 12, *[numbers.choice(_LETTERS)] * 6, *_LEAVES))
    one, other = _scalar(numbers, depth - 1), _scalar(numbers, depth - 1)
    return numbers.choice((
        f"{one}+{other}", f"{one} - {other}", rf"\frac{{{one}}}{{{other}}}", rf"\dfrac{{{one}}}{{{number}}}",
        f"{one}/{number}", f"({one})/({other})", rf"\frac{number}{number}", f"{number}{one}", rf"{one} \cdot {other}",
        f"({one})({other})", rf"\sqrt{{{one}}}", f"({one})^2", f"({one})^{{-1}}", f"{one}^{{{other}}}", f"{one}^3",
        rf"\sqrt[3]{{{one}}}", f"{one}{other}", rf"\left({one}\right){other}", f"-{one}+{other}"))


def _respelled(numbers: random.Random, text: str) -> str:
    """The same in another spelling, or now and then another number."""
    for _ in range(3):
        old, new = numbers.choice(_RESPELLINGS)
        text = text.replace(old, new)
    return text.replace("(", r"\left(").replace(")", r"\right)") if numbers.random() < 0.3 else text


def _damaged(numbers: random.Random, text: str) -> str:
    """The text with a character less, or more, or another one."""
    at = numbers.randrange(len(text))
    added = numbers.choice((*"0123xy+-,()[]{}^ .", r"\pi", r"\sqrt", ""))
    return text[:at] + added + text[at + numbers.randrange(2):]
