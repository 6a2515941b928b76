r"""Gold answers that are sentences: compared word by word, never read as products of letters.

`forty two` is no multiple of f, `x \text{ is even}` is not x, and `2 or more` is not 2. Whether a text is prose is
decided by the gold answer alone. Words without any mathematics, and lists of such, are compared in `plain`.
"""

import re
from functools import lru_cache

from sparkcli.method.answers import IN_TEXT
from sparkcli.verifiers.base import Finding

_LONGEST = 600
_LETTERS = re.compile(r"[A-Za-z]{2}|[^\x00-\x7f]")
_WORD = re.compile(r"(?<![\\a-zA-Z])[A-Za-z]+(?:['-][A-Za-z]+)*")
_SPOKEN = re.compile(r"(?=[A-Za-z'-]*[aeiouyAEIOUY])(?=[A-Za-z'-]*[a-z])[A-Za-z'-]{3,}")
_LINK = re.compile(r"is|are|has|not|be|can|no|to|at|by|of|in|if|it|on|as|we|an", re.IGNORECASE)
_MATHEMATICS = re.compile(
    r"and|or|for|sin|cos|tan|cot|sec|csc|log|exp|lim|max|min|mod|gcd|lcm|det|dim|ker|deg|arg|sup|inf|pi|alpha|beta|gamma"
    r"|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|chi|psi|omega|infinity|infty|sqrt|frac"
    r"|arcsin|arccos|arctan|sinh|cosh|tanh|ceil|floor|text|boxed", re.IGNORECASE)
_START = re.compile(r"\W*[A-Za-z]?\W*")
_RELATION = re.compile(r"[=<>+*/^\d]|\\(?:[lg]eq?|neq?|in|sim|equiv|frac|sqrt|pm)(?![a-z])")
_BOUND = re.compile(r"\s*[\d.,]+\s*or\s+(?:more|less|fewer|greater|higher|lower|above|below)\b.*", re.DOTALL)
_FOREIGN = re.compile(r"[^\x00-\x7f\s]+(?:\s+[^\x00-\x7f\s]+)*")
_SPACING = re.compile(r"[\s{}$~*]+|\\(?:left|right|q?quad)(?![a-zA-Z])|\\[,;:! ]|(?<=[A-Za-z])-(?=[A-Za-z])")


def same_prose(gold: str, answer: str) -> Finding | None:
    """The verdict where the gold answer is a sentence."""
    if len(gold) > _LONGEST or not _LETTERS.search(gold) or not is_prose(gold):
        return None
    is_equal = _folded(gold) == _folded(answer)
    return Finding("correct", "equal words") if is_equal else Finding("wrong", "different words")


@lru_cache(maxsize=4096)
def is_prose(text: str) -> bool:
    r"""Whether a text is words rather than a formula, a quantity, or a list of such.

    >>> [is_prose(text) for text in ("forty two", r"x \text{ is even}", "2 or more", "the line y = x")]
    [True, True, True, True]
    >>> [is_prose(text) for text in ("12 square units", r"x=1 \text{ or } x=2", "abc", r"\text{Area}=5\text{ cm}")]
    [False, False, False, False]
    """
    bare = IN_TEXT.sub(r" \1 ", text).replace("$", " ").strip()
    if _FOREIGN.fullmatch(bare) or _BOUND.fullmatch(bare):
        return True
    words = list(_WORD.finditer(bare))
    spoken = [word for word in words if _SPOKEN.fullmatch(word[0]) and not _MATHEMATICS.fullmatch(word[0])]
    if not spoken or not _START.fullmatch(bare[:min(word.start() for word in (*spoken, *_links(words)))]):
        return False
    after_first = bare[spoken[0].end():]
    is_label = len(spoken) < 3 + len(after_first) // 40 and re.match(r"[^\w]*[=:]", after_first) is not None
    return (len(spoken) > 1 or len(_links(words)) > 0) and not (is_label and _RELATION.search(after_first))


def _links(words: list[re.Match[str]]) -> list[re.Match[str]]:
    return [word for word in words if _LINK.fullmatch(word[0])]


def _folded(text: str) -> str:
    return _SPACING.sub("", IN_TEXT.sub(r"\1", text)).strip(".,;:!?").casefold()
