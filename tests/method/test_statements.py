import pytest

from sparkcli.method.answers import final_answer
from sparkcli.method.statements import last, unwrapped


@pytest.mark.parametrize(("completion", "answer"), [
    ("The answer is 42.", "42"),
    ("Therefore, the final answer is: $\\frac{1}{2}$.", r"\frac{1}{2}"),
    ("Therefore, the answer is therefore 42", "42"),
    ("Reasoning.\n**Answer:** 12", "12"),
    ("Reasoning.\n**Answer: 12**", "12"),
    ("Reasoning.\n**Answer**: 12", "12"),
    ("Reasoning.\nAnswer:\n\n12", "12"),
    ("Reasoning.\n### Final Answer\n\n12", "12"),
    ("Reasoning.\n**Final Answer**\n$$\n12\n$$", "12"),
    ("The answers are 3 and 4.", "3 and 4"),
    ("Answer = 3.5", "3.5"),
    ("The answer should be 75", "75"),
    ("The answer is \\(x\\).", "x"),
    ("The answer is $x$ or $y$.", "$x$ or $y$"),
    ("The answer is 42.\n\n", "42"),
    ("The correct option is (B).", "(B)"),
    ("The answer is B. 12 cm", "B. 12 cm"),
    ("\u6240\u4ee5\u7b54\u6848\u662f\uff1a42\u3002", "42"),
    ("\u7b54\u6848: B", "B"),
    ("The final answer is $5$. I hope it is correct.", "5"),
    ("**Answer: 12**\n\nI hope this helps! Let me know if you have any other questions.", "12"),
    ("The answer is not 3. The answer is 4.", "4"),
    ("The answer is 42.\nBut let me check again, it may be different", None),
    ("The answer is 42. Or maybe not", None),
    ("The answer is not 42", None),
    ("The answer is that nobody knows", None),
    ("Is the answer: 42?", None),
    ("The answer is " + "very " * 30 + "long", None),
    ("The answer is:\n3 apples\n4 pears", None),
    ("I would say 42", None),
    ("The answer", None),
    ("The answer is **", None),
    ("", None),
])
def test_only_unmistakable_endings_count_without_a_box(completion: str, answer: str | None) -> None:
    assert final_answer(completion) == answer


@pytest.mark.parametrize(("completion", "answer"), [
    ("The answer is (A).\n\nThe head of the person in figure A is a circle.", "(A)"),
    ("The answer is **(B) no**. Medium is not the smoothest.", "(B) no"),
    ("Sure, I can help you with that.\n\nThe answer is 42.\n\nSix times seven is 42.", "42"),
    ("The answer is 42.\nWait: six times eight.", None),
    ("The answer is 42.\nThe answer is 43. Now both are there.", None),
    ("The answer is 42; or so.\nIt is large.", None),
    ("Let me see.\nThe answer is 42.\nIt is large.", None),
])
def test_an_opening_statement_counts_if_the_rest_only_explains_it(completion: str, answer: str | None) -> None:
    assert final_answer(completion) == answer


@pytest.mark.parametrize(("text", "answer"), [
    ("The answer is 42. Or maybe not.", "42"),
    ("The answer is 1.\nThen the answer is 2.\nHm.", "2"),
    ("Is the answer: 42?", None),
    ("The answer is " + "very " * 30 + "long", None),
    ("I would say 42", None),
])
def test_the_last_statement_anywhere(text: str, answer: str | None) -> None:
    assert last(text) == answer


@pytest.mark.parametrize(("text", "bare"), [
    ("**42**.", "42"), ("$$x$$", "x"), ("**$x$**", "x"), ("$x$ and $y$", "$x$ and $y$"), ("`4`", "4"), ("**", None),
    (" . ", None)])
def test_emphasis_and_mathematics_signs_are_taken_off(text: str, bare: str | None) -> None:
    assert unwrapped(text) == bare


@pytest.mark.parametrize(("completion", "answer"), [
    ("The answer is 5, since 2+3=5.", "5"),
    ("The answer is 5 because 2+3=5.", "5"),
    ("The answer is B because it is larger.", "B"),
    ("The answer is $5$, as $2+3=5$.", "5"),
    ("The answer is 5 (since 2+3=5).", "5"),
    ("The answer is 5 (2+3=5).", "5"),
    ("The answer is 5, as required.", "5"),
    ("The answer is 5, which is odd.", "5"),
    ("The answer is 5 — because 2+3=5.", "5"),
    ("The answer is 5, so we are done.", "5"),
    ("The answer is 5, i.e. five.", "5"),
    (r"The answer is $2\pi k$, where $k$ is an integer.", r"2\pi k"),
    ("So 5 is the answer.", "5"),
    ("Therefore, $x^2$ is the final answer.", "x^2"),
    ("Thus option B is correct.", "B"),
    ("B is the correct answer.", "B"),
    ("It is the answer.", None),
    ("This is correct.", None),
    ("A is not correct.", None),
    ("The answer comes out to 5.", "5"),
    ("The answer equals 5.", "5"),
    ("The answer turns out to be 5.", "5"),
    ("The answer, therefore, is 5.", "5"),
    ("The answer to the question is 5.", "5"),
    ("The answer must therefore be 5.", "5"),
    ("Ans: 5", "5"),
    ("The answer is simply 5.", "5"),
    ("The answer is indeed 5", "5"),
    ("The answer is 5. Thank you!", "5"),
    ("The answer is 5. QED", "5"),
    (r"The answer is 5. $\blacksquare$", "5"),
    ('The answer is 5.\n\nFeel free to ask more questions!', "5"),
    ("The answer is 5, but 7 is possible.", "5, but 7 is possible"),
    ("The answer is 5 because wait, no, it is 6.", "5 because wait, no, it is 6"),
    ("The answer is 3 or 7.", "3 or 7"),
    ("The answer is because of rain.", None),
    ("The answer is 12, obtained by adding.", "12"),
    ("The answer is 5 as we have shown.", "5"),
    ("答案是5，因为2+3=5。", "5"),
    ("The correct option is (C), since it is largest.", "(C)"),
    ("The answer is 5 - 3 = 2", "5 - 3 = 2"),
    ("The answer is x - y", "x - y"),
    ("The answer is $(-1, 2)$, since both hold.", "(-1, 2)"),
    ("The answer is $5$ because we add $2$ and $3$. This is known.", "5"),
    ("The answer is B. 12 cm", "B. 12 cm"),
    ("The answer is (B) so we pick it", "(B) so we pick it"),
    ("Since 2+3=5, the answer is 5.", "5"),
    ("The answer is 3:4, as computed.", "3:4"),
    ("The answer is $f(x)=x$ for all $x$.", "$f(x)=x$ for all $x$"),
    ("The answer is not 5, since 2+3=6.", None),
    ("The answer is 5.0, from the table.", "5.0"),
    ("Hence 12 is my answer.", "12"),
    ("So the final answer = 7, as 3+4=7", "7"),
    ("Because of this, C is the right answer.", "C"),
    ("If 5 is the answer.", None),
    ("I doubt that 5 is the answer.", None),
    ("Is 5 the answer?", None),
    ("The answer should be 75, because 3*25 = 75", "75"),
    ("The answer is: therefore 5", "5"),
    ("The answer is **5**, because 2+3=5.", "5"),
    ("The answer is 5 apples, since 2+3=5.", "5 apples"),
    ("The answer is 10-3, which is 7.", "10-3"),
    ("The answer is D, not B.", "D"),
    ("The answer is 1, 2, since both work", "1, 2"),
    ("The answer is 10:05, since it is late", "10:05"),
    ("The answer is 5, not 6.", "5"),
    ("**The answer is 5.**", "5"),
    ("The answer is 5 ✅", "5"),
    ("So, the answer is 5; this is because 2+3=5.", "5"),
    ("Steps.\nThe answer is 5. This is because 2+3=5.", "5"),
    ("Steps.\n\nThe answer is 5.\n\nExplanation: 2+3=5.", "5"),
    ("Therefore the answer is 5, and we are done.", "5"),
    ("The answer is 5: 2+3=5.", "5"),
    ("The answer is approximately 3.14, rounded to two places.", "3.14"),
    ("The answer is 7 to the nearest whole number.", "7"),
    ("The answer is 5 (mod 7).", "5 (mod 7)"),
    ("5 is the answer, because 2+3=5.", "5"),
    ("Answer - 5", "5"),
    ("The sum is not 4, so the answer is 5.", "5"),
    ("If x = 2, then y = 3. So the answer is 5.", "5"),
    ("I believe the final answer is 5.", "5"),
    ("There is no doubt that the answer is 5.", "5"),
    ("I would say the answer is 5.", "5"),
    ("5 is the answer if x > 0.", None),
    ("4 is the answer. No, 5 is the answer.", None),
])
def test_reasons_phrasings_and_what_is_none(completion: str, answer: str | None) -> None:
    assert final_answer(completion) == answer


@pytest.mark.parametrize("completion", [
    "I don't think the answer is 5.", "I doubt that the answer is 5.", "It is unlikely that the answer is 5.",
    "I am not sure that the answer is 5.", "It isn't clear whether the answer is 5.", "Check if the answer is 5.",
    "One might think the answer is 5.", "You'd think the answer is 5.", "Many students say the answer is 5.",
    "It is tempting to say the answer is 5.", "It's hard to believe the answer is 5.", "Perhaps the answer is 5.",
    "There is no way the answer is 5.", "Suppose the answer is 5.", "If we guess the answer is 5",
    "The wrong answer is 5.", "A common wrong answer is 5.", "My initial answer was 5.",
    "I don't think 5 is the answer.", "The answer is 5. Or 6.",
    "The answer is 5. But 6 is also right.", "One may think that the correct answer is 5",
])
def test_doubts_and_the_answers_of_others_are_none(completion: str) -> None:
    assert final_answer(completion) is None
