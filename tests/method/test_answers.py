import time

import pytest

from sparkcli.method.answers import boxed, final_answer


@pytest.mark.parametrize(("text", "content"), [
    (r"\boxed{4}", "4"),
    (r"\boxed {4}", "4"),
    (r"\fbox{4}", "4"),
    (r"\boxed{ 4 }", "4"),
    (r"\boxed{1} and then \boxed{2}", "2"),
    (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
    (r"\boxed{\boxed{7}}", "7"),
    (r"\boxed{\left\{ 1, 2 \right.}", r"\left\{ 1, 2 \right."),
    (r"a stray } before \boxed{3}", "3"),
    (r"a stray { before \boxed{3}", "3"),
    (r"\text{x} \\\boxed{3}", "3"),
    (r"\\boxed{3}", "3"),
    ("\\boxed{\n3\n}", "3"),
    (r"\boxed{5} is put in \boxed{}", "5"),
    (r"\boxed{1}, cut off: \boxed{\frac{1}{2", "1"),
    (r"\boxed{unclosed", None),
    (r"\boxed{", None),
    (r"\boxed{}", None),
    ("boxed{3}", None),
    ("", None),
])
def test_the_last_balanced_box_is_read(text: str, content: str | None) -> None:
    assert boxed(text) == content


@pytest.mark.parametrize(("completion", "answer"), [
    ("#### 1,234", "1,234"),
    ("#### 1\nwait\n#### 2", "2"),
    (r"#### 1 \boxed{2}", "2"),
    ("The answer is 42.", "42"),
    ("Therefore, the final answer is: $\\frac{1}{2}$.", r"\frac{1}{2}"),
    ("Reasoning.\n**Answer:** 12", "12"),
    ("Reasoning.\n**Answer: 12**", "12"),
    ("Answer = 3.5", "3.5"),
    ("The answer is \\(x\\).", "x"),
    ("The answer is 42.\n\n", "42"),
    ("The answer is 42.\nBut let me check again, it may be different", None),
    ("The answer is 42. Or maybe not", None),
    ("The answer is not 42", None),
    ("The answer is that nobody knows", None),
    ("The answer is " + "very " * 30 + "long", None),
    ("I would say 42", None),
    ("The answer", None),
    ("The answer is **", None),
    ("", None),
])
def test_only_unmistakable_endings_count_without_a_box(completion: str, answer: str | None) -> None:
    assert final_answer(completion) == answer


@pytest.mark.parametrize("piece", ["\\boxed{", "\\", "{", "\\boxed ", "answer is ", "#### ", "}"])
def test_degenerate_text_takes_linear_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    start = time.perf_counter()
    final_answer(text)
    assert time.perf_counter() - start < 2.0
