r"""Boxes in a text, and which of them are one answer.

The last box wins: a later one corrects the earlier (`First \boxed{5}. No: \boxed{7}`) or is derived from it. Boxes
that stand together are one answer of several values: `\boxed{-2} and \boxed{1}`, `x = \boxed{1} or x = \boxed{2}`, a
list of them. What stands between two boxes tells, if it is short and in one sentence: a word or sign that joins them,
around it at most the name of a value or a condition, and no word that corrects or derives.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

_BOX = re.compile(r"(?:(?<=\\)boxed|(?<=\\f)box)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_LONGEST_BETWEEN = 160
"""Characters between two boxes of one answer, TeX included."""

_TEX = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}"
                  r"|\\(?:begin|end)\s*\{[^{}]*\}|\\(?:left|right|q?quad|displaystyle)(?![a-zA-Z])"
                  r"|\\[,;:! ()\[\]]|[$&~*]")
_TEX_WORDS = ((re.compile(r"\\(?:lor|vee)(?![a-zA-Z])"), " or "),
              (re.compile(r"\\(?:land|wedge)(?![a-zA-Z])"), " and "),
              (re.compile(r"\\in(?![a-zA-Z])"), " = "), (re.compile(r"\\\\"), "\n"))
_AND = r"and|while|as well as|together with|along with|y|e|et|und|и|và|ve"
_OR = (r"or|or else|otherwise|else|o|u|ou|oder|или|hoặc|veya|vs|versus|vagy|nebo|lub|albo|eller|sau|atau|may ?be"
       r"|perhaps|possibly|alternatively|(?:it )?(?:could|might|may)(?: also)? be")
_WIDE_AND, _WIDE_OR = "和|与|與|及|以及|跟|并且|且|と|および|와|과|그리고", "或|或者|または|또는"
_NAME = (r"(?:[|∠\\]?(?!it\b|so\b)[a-z]\w{0,8}(?:_\{?\w{1,9}\}?)?'?(?: ?\([^()=]{1,12}\))?\|? ?[=:] ?"
         r"|m?\\?angle ?\w{1,4} ?[=:] ?|(?!it\b)[a-z]\w? (?:is|equals) )")
_HEDGE = re.compile(rf"\W*(?:{_OR})\b.{{0,40}}", re.IGNORECASE)
_CASE = re.compile(r"[,;] ?(?:and |but |or )?(?:if|when|otherwise|else)\b.{0,60}", re.IGNORECASE)
_DOUBT = re.compile(r"[,;]? ?(?:but|though|although)? ?(?:(?:it|this|that) )?(?:could|might|may)"
                    rf"(?: also| well| instead)? be(?: {_NAME})?", re.IGNORECASE)
_CONDITION = re.compile(r"(?:if|when|for|where)\b[^.?!]{1,40}[,;]", re.IGNORECASE)
_OTHER = re.compile(r"\W*(?:and )?(?:the |an)?(?:other|second|third|fourth|remaining|last) ?"
                    r"(?:root|solution|answer|value|one|case|possibility)?s?\b.{0,30}", re.IGNORECASE)
_OR_WORD = re.compile(rf"\b(?:{_OR})\b|{_WIDE_OR}|/", re.IGNORECASE)
_ITEM = r"(?:\(?[a-z0-9]{1,3}[.)]|[-•]|(?:part|case|root|solution|option|possibility) ?\(?\w{1,3}\)? ?[:.)]?)"
_JOINED = re.compile(
    r"(?:\([^()]{0,60}\)|[a-zA-Zµ°%]{1,3}\d?)? ?(?:[,;/、，；]? ?\n? ?"
    rf"(?:\b(?:{_AND}|{_OR})\b|{_WIDE_AND}|{_WIDE_OR}|[,;/、，；])) ?\n? ?"
    rf"(?:(?:also|either|then again|equally|{_OR}) )?(?:{_ITEM} ?)?{_NAME}?", re.IGNORECASE)
"""Nothing but a word or sign that joins, before it a unit or a remark, behind it the name of a value."""
_LISTED = re.compile(rf"[.,;，；。]? ?\n\s*(?:{_ITEM} ?{_NAME}?|{_NAME})|\s*", re.IGNORECASE)
"""Items of a list, each on its line; or nothing at all."""
_CLAUSE = re.compile(rf".*?(?:[\s,]|^)(?:{_AND}|{_OR})(?:[\s,].*|$)|.*(?:{_WIDE_AND}|{_WIDE_OR}).*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.?!](?:\s|$)|[。？！:：]|\n\s*\n")
_DERIVED = re.compile(
    r"=>|->|→|⇒|≈|≡|\\(?:implies|Rightarrow|rightarrow|to|approx|iff|equiv|neq?|ne|because|therefore|Longrightarrow)\b"
    r"|\b(?:so|thus|hence|therefore|then|gives?|giving|yields?|yielding|means?|meaning|implies|implying|which|because|since"
    r"|get|gets|getting|obtain|obtains|find|becomes?|simplif\w+|reduc\w+|converts?|rewrit\w+|i\.?e|that is|namely"
    r"|equivalently|rather|better|precisely|simply|exactly|approximately|about|roughly|actually|wait|no|not|sorry"
    r"|correct\w*|mistake\w*|instead|finally|totals?|sums? to|adds? up|but|however|check\w*|verif\w+|answer|result"
    r"|substitut\w+|plug\w*|multipl\w+|divid\w+|subtract\w*|comput\w+|calculat\w+|let|now|next|first|after|final)\b"
    r"|所以|因此|于是|即|也就是|不对|等等|应该|得|答案|而不|不是", re.IGNORECASE)
"""What corrects, or derives the next value from the last."""
_COMPUTED = re.compile(r"[-+*/^][^=]*=")
_REJECTS = re.compile(r"[,;(\s]*(?:and |but )?(?:not|never|instead of|rather than|as opposed to|而不是|不是)\s+"
                      rf"(?:the )?{_NAME}?", re.IGNORECASE)
_LABEL = re.compile(r"[A-Za-z]\w{0,4}\s*=\s*")

Relation = Literal["and", "or", "not", "apart"]


class Box(NamedTuple):
    """A box that is closed and not empty: where its command begins, what is in it, and where it ends."""

    start: int
    content: str
    end: int


def answer_in_boxes(text: str) -> str | None:
    r"""The content of the last box, or of the last ones that are one answer; None without a box.

    >>> [answer_in_boxes(text) for text in (r"\boxed{-2} and \boxed{1}", r"\boxed{5}. No: \boxed{7}")]
    ['-2, 1', '7']
    >>> print(answer_in_boxes(r"Either \boxed{A} or \boxed{B}."), answer_in_boxes(r"It is \boxed{3}, not \boxed{7}."))
    A \text{ or } B 3
    """
    boxes = boxes_from_end(text)
    last = next(boxes, None)
    if last is None:
        return None
    answer, joins = [last], list[str]()
    for box in boxes:
        if box.end > answer[0].start:  # around it
            break
        relation = related(text[box.end:answer[0].start])
        if relation == "not" and len(answer) == 1:
            answer = [box]
        elif relation in ("and", "or"):
            answer.insert(0, box)
            joins.append(relation)
        else:
            break
    return _joined([box.content for box in answer], r" \text{ or } " if "or" in joins else ", ")


def _joined(values: Sequence[str], sign: str) -> str:
    """Values as one text; of those that are the same but for a name before them, the last."""
    if len(values) == 1:
        return values[0]
    spelled = ("".join(_TEX.sub(lambda match: match[1] or " ", value).split()) for value in values)
    unnamed = {_LABEL.sub("", spelling, count=1): value for spelling, value in zip(spelled, values, strict=True)}
    return sign.join(unnamed.values())


def related(between: str) -> Relation:
    r"""How two boxes belong to one another, from the text between them.

    >>> [related(text) for text in (" and ", "$ or $x = ", ", so it is ", ". No: ", ", not ", "\n(b) ")]
    ['and', 'or', 'apart', 'apart', 'not', 'and']
    """
    if len(between) > _LONGEST_BETWEEN:
        return "apart"
    text = between
    for sign, word in _TEX_WORDS:
        text = sign.sub(word, text)
    text = _TEX.sub(lambda match: match[1] or " ", text)
    lines = [" ".join(line.split()) for line in text.split("\n")]
    text = "\n".join(lines).strip(" ")
    for opening, closing in ("()", "[]"):
        if text.count(opening) > text.count(closing):
            text = text.replace(opening, "", 1).strip(" ")
    if _REJECTS.fullmatch(f"{text} "):
        return "not"
    if _DOUBT.fullmatch(text):
        return "or"
    sentence = text.lstrip(".?!。？！ \n")
    is_hedge = sentence != text and (_HEDGE.fullmatch(sentence) or _OTHER.fullmatch(sentence))
    is_clause = _CLAUSE.fullmatch(text) and not (_SENTENCE_END.search(text) or _COMPUTED.search(text))
    is_case = (_CASE.fullmatch(text) or _CONDITION.fullmatch(text)) and not _SENTENCE_END.search(text)
    is_joined = is_hedge or is_clause or is_case or _JOINED.fullmatch(text) or _LISTED.fullmatch(text)
    if _DERIVED.search(text) or not is_joined:
        return "apart"
    return "or" if _OR_WORD.search(text) else "and"


def boxes_from_end(text: str) -> Iterator[Box]:
    r"""Every `\boxed{…}` or `\fbox{…}` whose braces balance and that is not empty, the last first; takes linear time.

    Escaped braces are text. A box that is cut off is none.
    """
    at = end = len(text)
    while (at := text.rfind("box", 0, at)) >= 0:  # from the end: faster than a search for every box
        box = _BOX.match(text, at)
        if box is None:
            continue
        close = _closing_brace(text, box.end(), end)
        if close is None:
            end = at  # a box around this one cannot close behind it either: all scans together are linear
        elif content := text[box.end():close].strip():
            yield Box(text.rfind("\\", 0, at), content, close + 1)


def _closing_brace(text: str, start: int, end: int) -> int | None:
    """Where the brace that was opened before `start` is closed, if it is before `end`."""
    first = text.find("}", start, end)
    if first < 0:
        return None
    if text.find("{", start, first) < 0 and text.find("\\", start, first) < 0:
        return first
    depth = 1
    for token in _BRACE.finditer(text, start, end):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if depth == 0:
                return token.start()
    return None
