"""What a completion gives as its final answer.

A box counts wherever it stands, and the last one wins. Without a box two endings that are hard to mistake are
read: GSM8K's `#### x`, and a closing `answer is x` or `answer: x`. Anything else is no answer, not a guess.
"""

import re

_TOKEN = re.compile(r"\\{1,2}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_HASHES = re.compile(r"^####[ \t]*(\S.*)$", re.MULTILINE)
_CLOSING = re.compile(r"\banswer(?:[ \t]+is\b[ \t]*:?|[ \t]*[:=])(?:\*\*)?[ \t]*(\S.*)$", re.IGNORECASE)
_SENTENCE_BREAK = re.compile(r"[.!?;]\s|^(?:not|that|because)\b", re.IGNORECASE)
_WRAPPERS = (("**", "**"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("`", "`"))
_LONGEST_CLOSING = 80
_SPACING = re.compile(r"\s|\$|\\(?:left|right)(?![a-zA-Z])|\\[,;:! ]")
_DFRAC = re.compile(r"\\[dt]frac(?![a-zA-Z])")


def boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{…}` (or `\fbox{…}`) whose braces balance; None without one.

    Escaped braces are text. A box that is cut off or empty is no box. Of nested boxes the inner one counts.

    >>> boxed(r"first \boxed{1}, then \boxed{\frac{3}{4}}, then cut off: \boxed{5")
    '\\frac{3}{4}'
    """
    open_braces: list[tuple[bool, int, int]] = []
    last_start, content = -1, None
    for token in _TOKEN.finditer(text):
        if token[0] == "}":
            is_box, start, inside = open_braces.pop() if open_braces else (False, -1, -1)
            inner = text[inside:token.start()].strip() if is_box else ""
            if inner and start > last_start:
                last_start, content = start, inner
        elif token[0] == "{" or len(token[0]) > 2:
            open_braces.append((token[0] != "{", token.start(), token.end()))
    return content


def final_answer(completion: str) -> str | None:
    r"""The answer a completion commits to, without what is wrapped around it; None if it gives none.

    >>> [final_answer(text) for text in (r"So it is \boxed{12}.", "#### 7", "The answer is $x^2$.")]
    ['12', '7', 'x^2']
    >>> final_answer("I am not sure; 7 could be the answer") is None
    True
    """
    answer = boxed(completion)
    if answer is not None:
        return answer
    hashes = _HASHES.findall(completion)
    if hashes:
        return _unwrapped(hashes[-1])
    last_line = completion.rstrip().rpartition("\n")[2]
    closings = _CLOSING.findall(last_line[-4 * _LONGEST_CLOSING:])
    if not closings or len(closings[-1]) > _LONGEST_CLOSING or _SENTENCE_BREAK.search(closings[-1]):
        return None
    return _unwrapped(closings[-1])


def spelling(answer: str) -> str:
    r"""What two answers have in common if only their spelling differs: spaces, `$`, `\left`, `\dfrac`.

    No mathematics: 0.5 and 1/2 stay apart. Tells whether two answers are worth comparing, and counts them.

    >>> spelling(r"$\left( \dfrac{1}{2}, 3 \right)$")
    '(\\frac{1}{2},3)'
    """
    return _DFRAC.sub(r"\\frac", _SPACING.sub("", answer)) or answer


def _unwrapped(text: str) -> str | None:
    """`text` without the emphasis, mathematics signs and full stop around it; None if nothing is left."""
    text = text.strip().removesuffix(".").rstrip()
    for left, right in _WRAPPERS:
        if text.startswith(left) and text.endswith(right) and len(text) >= len(left) + len(right):
            text = text[len(left):len(text) - len(right)].strip().removesuffix(".").rstrip()
    return text.removesuffix("**").rstrip() or None
