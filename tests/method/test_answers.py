import time

import pytest

from sparkcli.method.answers import Reading, boxed, final_answer, read_answer


@pytest.mark.parametrize(("text", "content"), [
    (r"\boxed{4}", "4"),
    (r"\boxed {4}", "4"),
    (r"\fbox{4}", "4"),
    (r"\boxed{ 4 }", "4"),
    (r"\boxed{1} and then \boxed{2}", "2"),
    (r"\boxed{1} and \boxed{2}", "1, 2"),
    (r"<think>\boxed{1} and</think> \boxed{2}", "2"),
    (r"\fbox{1} and then \boxed{2}", "2"),
    (r"\boxed{1} and then \fbox{2}", "2"),
    (r"\boxed{1}, in a box{2}", "1"),
    (r"\boxed{1}, in a fboxed{2}", "1"),
    (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
    (r"\boxed{\boxed{7}}", "7"),
    (r"\boxed{\left\{ 1, 2 \right.}", r"\left\{ 1, 2 \right."),
    (r"\boxed{\{ 1, 2 \}}", r"\{ 1, 2 \}"),
    (r"a stray } before \boxed{3}", "3"),
    (r"a stray { before \boxed{3}", "3"),
    (r"\text{x} \\\boxed{3}", "3"),
    (r"\\boxed{3}", "3"),
    ("\\boxed{\n3\n}", "3"),
    (r"\boxed{5} is put in \boxed{}", "5"),
    (r"\boxed{1}, cut off: \boxed{\frac{1}{2", "1"),
    (r"\boxed{1 + \boxed{2", None),
    (r"\boxed{unclosed", None),
    (r"\boxed{", None),
    (r"\boxed{}", None),
    ("boxed{3}", None),
    ("", None),
])
def test_the_last_balanced_box_is_read(text: str, content: str | None) -> None:
    assert boxed(text) == content


@pytest.mark.parametrize(("completion", "answer"), [
    ("<answer>42</answer>", "42"),
    ("<answer>1</answer>, no: <answer> **2** </answer> It was hard.", "2"),
    ("<answer>The final answer is $x$.</answer>", "x"),
    (r"<answer>\boxed{3}</answer>", "3"),
    ("<answer>42", None),
    ("42</answer>", None),
    ("<answer></answer>", None),
])
def test_answer_tags(completion: str, answer: str | None) -> None:
    assert final_answer(completion) == answer


@pytest.mark.parametrize(("completion", "answer"), [
    ("#### 1,234", "1,234"),
    ("#### 1\nwait\n#### 2", "2"),
    ("#### 18\n\nQuestion: what else?", "18"),
    ("#### $5", "$5"),
    ("#### x + 1", "x + 1"),
    (r"#### 1 \boxed{2}", "2"),
    ("#### Step 2: multiply\nThen we multiply.", None),
    ("##### 5", None),
    ("See #### 5", None),
    ("####", None),
])
def test_four_hashes(completion: str, answer: str | None) -> None:
    assert final_answer(completion) == answer


@pytest.mark.parametrize(("completion", "how"), [
    (r"\boxed{1}", "the last box"),
    ("<answer>1</answer>", "the last `<answer>` tags"),
    ("#### 1", "the last line of `#### answer`"),
    ("So the answer is 1.", "`answer is` at the end"),
    ("The answer is 1.\nIt is odd.", "`answer is` in the first line"),
])
def test_where_an_answer_stood_is_told(completion: str, how: str) -> None:
    assert read_answer(completion) == Reading("1", how)


HOSTILE = ["\\boxed{", "\\", "{", "\\boxed ", "\\boxed{}", "\\boxed{{", "box", "answer is ", "answer: ", "answer\n",
           "#### ", "\n####", "}", "</think>", "<answer>", "</answer>", "$", "**", " ", "\n", "\0", "\ud800",
           "\u7b54\u6848", "A. ", "the answer is 5.\n", "Sure, \n", "I hope it helps. ", "# "]
FRAMES = ["{}", "<answer>{}</answer>", "The answer is {}", "The answer is 5.\n{}", "{}\n#### 5"]


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
@pytest.mark.parametrize("frame", FRAMES)
def test_degenerate_text_takes_linear_time(piece: str, frame: str) -> None:
    text = frame.format(piece * (200_000 // len(piece)))
    start = time.process_time()
    final_answer(text)
    assert time.process_time() - start < 1.0
