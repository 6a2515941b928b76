r"""Which boxes are one answer, and which is the last word."""

import time

import pytest

from sparkcli.method.boxes import answer_in_boxes
from sparkcli.verifiers.registry import load


@pytest.mark.parametrize(("text", "answer"), [
    (r"\boxed{-2} and \boxed{1}", "-2, 1"),
    (r"\boxed{-2}, \boxed{1}", "-2, 1"),
    (r"$x=\boxed{1}$ or $x=\boxed{2}$", r"1 \text{ or } 2"),
    (r"\boxed{3} or \boxed{7}", r"3 \text{ or } 7"),
    (r"Either \boxed{A} or \boxed{B}.", r"A \text{ or } B"),
    (r"\boxed{1}, \boxed{2}, and \boxed{3}", "1, 2, 3"),
    (r"\boxed{1} \text{ and } \boxed{2}", "1, 2"),
    (r"\boxed{1}\quad\boxed{2}", "1, 2"),
    (r"The roots are $\boxed{1}$ (a double root) and $\boxed{-3}$.", "1, -3"),
    (r"$x_1 = \boxed{1}$, $x_2 = \boxed{2}$", "1, 2"),
    (r"\boxed{3}. Or maybe \boxed{7}.", r"3 \text{ or } 7"),
    (r"\boxed{3}. Maybe \boxed{7}?", r"3 \text{ or } 7"),
    (r"\boxed{3} or maybe \boxed{7}", r"3 \text{ or } 7"),
    (r"\boxed{3}/\boxed{7}", r"3 \text{ or } 7"),
    ("(a) $\\boxed{3}$\n(b) $\\boxed{5}$", "3, 5"),
    ("1. $\\boxed{3}$.\n2. $\\boxed{7}$", "3, 7"),
    ("Part (a): \\boxed{3}\n\nPart (b): \\boxed{5}", "3, 5"),
    ("- $x=\\boxed{1}$\n- $x=\\boxed{2}$", "1, 2"),
    (r"\boxed{1}和\boxed{2}", "1, 2"),
    (r"x=\boxed{1} 或 x=\boxed{2}", r"1 \text{ or } 2"),
    (r"\boxed{1} et \boxed{2}", "1, 2"),
    (r"\boxed{1} oder \boxed{2}", r"1 \text{ or } 2"),
    (r"\boxed{1} y \boxed{2}", "1, 2"),
    (r"\boxed{1} vagy \boxed{2}", r"1 \text{ or } 2"),
    (r"I think \boxed{1}, but it might be \boxed{2}", r"1 \text{ or } 2"),
    (r"\boxed{1} if $x>0$, \boxed{2} otherwise", "1, 2"),
    (r"\boxed{1}, but it should be \boxed{2}", "2"),
    (r"\boxed{\boxed{1} and \boxed{2}}", "1, 2"),
    (r"\begin{aligned} x&=\boxed{1}\\ y&=\boxed{2}\end{aligned}", "1, 2"),
    (r"The sum is \boxed{5} and the product is \boxed{6}.", "5, 6"),
    (r"$x = \boxed{1}$ when $n$ is even, and $x = \boxed{2}$ when $n$ is odd", "1, 2"),
    (r"$A=\boxed{30}$ cm and $B=\boxed{60}$ cm", "30, 60"),
    (r"\boxed{1} & \boxed{2}", "1, 2"),
    (r"\boxed{2} \lor \boxed{3}", r"2 \text{ or } 3"),
    (r"$\boxed{-2}$ as well as $\boxed{1}$", "-2, 1"),
    (r"$\boxed{-2}$; $\boxed{1}$", "-2, 1"),
    (r"\boxed{A}\boxed{C}", "A, C"),
    (r"\boxed{1},\boxed{2},\boxed{3}", "1, 2, 3"),
    (r"\boxed{3} could also be \boxed{7}", r"3 \text{ or } 7"),
    (r"both \boxed{-2} and \boxed{1} work", "-2, 1"),
    (r"答案是\boxed{1}、\boxed{2}", "1, 2"),
    (r"Thus x is \boxed{3} and y equals \boxed{4}", "3, 4"),
    (r"$f(1)=\boxed{3}$ and $f(2) = \boxed{4}$", "3, 4"),
    (r"\boxed{x=1} \text{ or } \boxed{x=2}", r"x=1 \text{ or } x=2"),
    (r"\boxed{3} (or \boxed{7})", r"3 \text{ or } 7"),
    (r"\boxed{3}, alternatively \boxed{7}", r"3 \text{ or } 7"),
    (r"\boxed{3}, \boxed{7}, or \boxed{9}", r"3 \text{ or } 7 \text{ or } 9"),
    (r"$(\boxed{1}, \boxed{2})$", "1, 2"),
    (r"One root is \boxed{1}. The other root is \boxed{-2}.", "1, -2"),
    (r"x=\boxed{1}. Another solution is x=\boxed{2}", "1, 2"),
    (r"\boxed{3} [or \boxed{7}]", r"3 \text{ or } 7"),
    ("Option 1: \\boxed{3}\nOption 2: \\boxed{7}", "3, 7"),
    (r"so $a = \boxed{3}$ while $b = \boxed{4}$", "3, 4"),
    (r"\boxed{1} papers and \boxed{2} bins", "1, 2"),
    (r"\boxed{3} if $a>0$, otherwise \boxed{7}", r"3 \text{ or } 7"),
    (r"\boxed{3} if $n$ is even, and \boxed{7} else", "3, 7"),
    (r"If n is even, \boxed{3}; if n is odd, \boxed{7}.", "3, 7"),
    (r"$$\boxed{10}$$ \boxed{\text{10}}", r"\text{10}"),
])
def test_boxes_that_stand_together_are_one_answer(text: str, answer: str) -> None:
    assert answer_in_boxes(text) == answer


@pytest.mark.parametrize(("text", "answer"), [
    (r"First \boxed{5}. No: \boxed{7}", "7"),
    (r"\boxed{3} so \boxed{7}", "7"),
    (r"\boxed{3}, wait, \boxed{7}", "7"),
    (r"\boxed{3}, so the answer is \boxed{7}", "7"),
    (r"\boxed{\frac{1}{2}} = \boxed{0.5}", "0.5"),
    (r"Since \boxed{n=4}, we get the answer \boxed{16}", "16"),
    (r"It is \boxed{3}, not \boxed{7}", "3"),
    (r"It is not \boxed{3} but \boxed{7}", "7"),
    (r"\boxed{3} rather than \boxed{7}", "3"),
    (r"\boxed{3}, or rather \boxed{7}", "7"),
    (r"\boxed{3}, or equivalently, \boxed{6/2}", "6/2"),
    ("\\boxed{x=3}\n\n\\boxed{3}", "3"),
    ("\\boxed{5}\n\\boxed{5}", "5"),
    ("a = \\boxed{2}\nb = a+1 = \\boxed{3}", "3"),
    ("Step 1: \\boxed{3}\nStep 2: \\boxed{7}", "7"),
    (r"We have \boxed{4} apples and 3 pears, for a total of \boxed{7}", "7"),
    (r"\boxed{2}. Therefore the answer is \boxed{7}", "7"),
    (r"\boxed{30^\circ} \approx \boxed{0.52}", "0.52"),
    (r"$\boxed{3} \Rightarrow \boxed{7}$", "7"),
    (r"x=\boxed{3} and x+1=\boxed{4}", "4"),
    (r"\boxed{3} and then \boxed{7}", "7"),
    (r"\boxed{3}, but \boxed{7} is also possible", "7"),
    (r"\boxed{3} instead of \boxed{7}", "3"),
    (r"\boxed{3} is the answer. \boxed{7}", "7"),
    (r"\boxed{3}? \boxed{7}!", "7"),
    (r"\boxed{3} or \boxed{7}, I guess. OK it is \boxed{7}", "7"),
    ("The answer is \\boxed{3}.\n\nFinal answer: \\boxed{7}", "7"),
    ("\\boxed{3}\nit is \\boxed{7}", "7"),
    ("The total is \\boxed{3}\nanswer = \\boxed{7}", "7"),
    (r"\boxed{3} + \boxed{7} = \boxed{10}", "10"),
    (r"The solutions are $\boxed{1}$ and $\boxed{-2}$, so the sum is $\boxed{-1}$.", "-1"),
    ("\\boxed{12}\n\n**Answer:** \\boxed{13}", "13"),
    (r"\boxed{A} and \boxed{B} are wrong, so \boxed{C}", "C"),
    (r"\boxed{5} (not \boxed{6})", "5"),
    (r"\boxed{3}. The last step gives \boxed{7}", "7"),
    (r"\boxed{3}. The second method also gives \boxed{3}", "3"),
    (r"\boxed{1} " + "and so on " * 20 + r"\boxed{2}", "2"),
])
def test_a_later_box_corrects_or_follows_from_an_earlier(text: str, answer: str) -> None:
    assert answer_in_boxes(text) == answer


@pytest.mark.parametrize(("name", "gold", "completion", "expected"), [
    ("math", r"\boxed{1} and \boxed{-2}", r"\boxed{-2, 1}", "correct"),
    ("math", r"\boxed{1} and \boxed{-2}", r"\boxed{-2}", "wrong"),
    ("math", "-2,1", r"\boxed{-2} and \boxed{1}", "correct"),
    ("math", r"x=1 \text{ or } x=2", r"$x=\boxed{1}$ or $x=\boxed{2}$", "correct"),
    ("math", "7", r"First \boxed{5}. No: \boxed{7}", "correct"),
    ("math", "3", r"\boxed{3} or \boxed{7}", "wrong"),
    ("math", "7", r"\boxed{3} or \boxed{7}", "wrong"),
    ("math", "7", r"It could be \boxed{3}, or maybe \boxed{7}.", "wrong"),
    ("math", "7", r"It is \boxed{3}, not \boxed{7}.", "wrong"),
    ("math", r"\frac{639}{40}", r"$d=\boxed{15\frac{39}{40}},$ or $\boxed{\frac{639}{40}}$ inches.", "correct"),
    ("math", r"\frac{1}{2}", r"\boxed{\frac12} or \boxed{0.5}", "correct"),
    ("math", "x=3", r"\boxed{3} or \boxed{x=3}", "correct"),
    ("number", "3", r"\boxed{3} or \boxed{7}", "no_answer"),
    ("choice", "A", r"Either \boxed{A} or \boxed{B}", "no_answer"),
    ("choice", "B", r"Either \boxed{A} or \boxed{B}", "no_answer"),
    ("choice", "B", r"\boxed{A} and \boxed{B}", "wrong"),
    ("choice", "A, C", r"\boxed{A} and \boxed{C}", "correct"),
    ("choice", "A, C", r"\boxed{A}, \boxed{C}", "correct"),
    ("label", "Yes", r"\boxed{Yes} or \boxed{No}", "no_answer"),
    ("exact", "cat", r"\boxed{cat} or \boxed{dog}", "wrong"),
])
def test_verdicts_on_several_boxes(name: str, gold: str, completion: str, expected: str) -> None:
    assert load(name).verify(gold, completion).status == expected


@pytest.mark.parametrize("piece", [
    r"\boxed{1} and ", r"\boxed{1}", r"\boxed{1}\text{", r"\boxed{1}, (a", "\\boxed{1}\n\n", r"\boxed{1}x = ",
    r"\boxed{" + " " * 150])
def test_any_text_takes_linear_time(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.process_time()
    answer_in_boxes(text)
    assert time.process_time() - started < 1.0
