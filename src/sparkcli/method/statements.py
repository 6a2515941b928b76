"""Sentences that state an answer, where there is no box: `the answer is x`.

Only what is hard to mistake is read. A statement closes the text, but for its reason (`the answer is x, since …`) and a
polite sentence; or it is the first line and what follows explains it, without a word that may take it back. All
functions take linear time on any text.
"""

import re

_IS = (r"(?:is|are|was|equals|(?:comes|works) (?:out )?(?:to be|to|as)|turns out to be|becomes"
       r"|(?:should|must|would|will|can only|has to|have to)(?:[ \t]+(?:therefore|thus|then|hence|also))?[ \t]+be)\b"
       r"(?:[ \t]*:?[ \t]+(?:therefore|thus|then|hence|simply|just|indeed|clearly|exactly|about|roughly"
       r"|approximately|given by|equal to)\b)*"
       r",?[ \t]*:?")
_CUE = re.compile(
    rf"(?:\b(?:answers?|ans)(?:[ \t]+(?:choice|option|(?:to|for)[ \t]+(?:the|this|your)(?:[ \t]+\w{{1,20}}){{1,2}}?))?"
    rf"|\b(?:correct|right|best)[ \t]+(?:option|choice))(?:\*\*)?(?:,[ \t]*(?:therefore|thus|then|hence),)?"
    rf"(?:[ \t]+{_IS}|[ \t]*[:=\uff1a\u2192])(?:\*\*)?"
    r"|^[ \t#*]*(?:final[ \t]+|correct[ \t]+)?answer(?:[ \t*#]*$|\**[ \t]+[-\u2013\u2014][ \t]+)"
    r"|\u7b54\u6848(?:\u61c9\u8a72|\u5e94\u8be5)?"
    r"(?:[\u662f\u4e3a\u70ba\u9009\u9078][ \t]*[:\uff1a]?|(?:\*\*)?[ \t]*[:\uff1a])(?:\*\*)?",
    re.IGNORECASE | re.MULTILINE)
"""What comes before the answer: English, a heading on a line of its own, Chinese."""
_OPTIONS = r"(?:\([A-J]\)|[A-J])(?:(?:, | and |, and )(?:\([A-J]\)|[A-J]))+"
_UNMEANT = re.compile(
    r"(?:(?:n['\u2019]t|\b(?:not|never|hardly|no longer|(?:hard|difficult) to))[ \t]+(?:\w+ly[ \t]+|yet[ \t]+)?"
    r"(?:think|believe|suppose|say|claim|know|mean|agree|clear|sure|certain|true|obvious|confident|convinced|likely"
    r"|possible|the case)(?:[ \t]+(?:that|if|whether|why|how))?"
    r"|(?<!no )(?<!without )(?<!a )\bdoubt\w*(?:[ \t]+(?:that|if|whether))?"
    r"|\b(?:unlikely|improbable|uncertain|unsure|unclear|wonder\w*|questionable|false|untrue|wrong|mistaken"
    r"|incorrect)[ \t]+(?:that|if|whether)|\bno way|\b(?:perhaps|maybe|possibly),?"
    r"|\bif[ \t]+(?:we|I)[ \t]+\w+"
    r"|\b(?:one|you|some|someone|somebody|people|many|most|students?|they|he|she|others?|tempt\w+|easy|wrongly)"
    r"(?:['\u2019]d)?[ \t]+"
    r"(?:(?:might|may|could|would|will|can|often|easily|mistakenly|wrongly|to|have|has|had)[ \t]+){0,3}"
    r"(?:think|thinks|thought|say|says|said|guess|guesses|guessed|expects?|believes?|believed|assumes?|assumed|conclude"
    r"|concludes?|concluded|argues?|argued|suppose|claims?|claimed|suspects?)(?:[ \t]+that)?"
    r"|\b(?:if|whether|unless|suppose|assume|assuming|supposing)(?:[ \t]+that)?)"
    r"(?:[ \t]+(?:the|my|your|our|this|an?))?(?:[ \t]+(?:final|correct|right|best|only)){0,2}[ \t]+\Z"
    r"|\b(?:wrong|incorrect|false|mistaken|erroneous|naive|tempting|bad|worst|unlikely|initial|previous|earlier|another"
    r"|student's|(?:not|isn't) (?:the|an)(?: (?:final|correct|right|best))?|no)[ \t]+\Z", re.IGNORECASE)
"""Before a cue: what makes of a statement a doubt, a condition, or the answer of others."""
_LONGEST_BEFORE = 80
_BEHIND = re.compile(
    r"(?:^|[.!?:;][ \t]+|,[ \t]+)"
    r"(?:(?:so|thus|therefore|hence|clearly|finally|in conclusion|and|only|that)[,:]?[ \t]+)*"
    rf"(?:(?:(?:options|choices|answers|both)[ \t]+)?(?P<several>{_OPTIONS})[ \t]+are[ \t]+(?:both[ \t]+|all[ \t]+)?"
    r"(?:correct|right|the (?:correct |right |best )?(?:answer|option|choice)s)"
    r"|(?:(?:option|choice|answer)[ \t]+)?(?P<answer>\*{0,2}(?:\$[^$\n]{1,100}\$|\\\([^\n]{1,100}?\\\)|\([A-J]\)|[A-J]"
    r"|[-+\u2212]?[$\u20ac\u00a3]?\d[\d.,/]{0,30}%?)\*{0,2})[ \t]+is[ \t]+"
    r"(?:(?:the|my|our)[ \t]+(?:final[ \t]+|correct[ \t]+|right[ \t]+|best[ \t]+)*(?:answer|option|choice)"
    r"|(?<=[A-J)*] is )(?:correct|right|the correct one)))(?![ \t]+(?:if|when|unless|only|or|for|but)\b)\**",
    re.IGNORECASE | re.MULTILINE)
"""The other way round: `x is the answer`; of options, `B is correct`."""
_POLITENESS = re.compile(
    r"(?<=[\s.!?*$)\]])(?:(?:I hope (?:it|this|that)(?: is|'s)? (?:correct|right|helps|helpful|clear)"
    r"|Hope (?:it|this) helps|Let me know if [^\n.!?]{1,80}|Do you have (?:any )?other questions[^\n.!?]{0,40}"
    r"|(?:Feel free to|Please) (?:ask|let me know)[^\n.!?]{0,80}|If you have [^\n.!?]{1,80}"
    r"|Thanks?(?: you)?[^\n.!?]{0,30}|Good luck|Have a (?:nice|great|good) \w{1,9}|Q\.?E\.?D|(?-i:Done)"
    r"|[\u220e\u25a0\u2705\u2713\u2714\u2611\U0001f300-\U0001faff]+|\$?\\(?:blacksquare|square|qed)\$?)[.!?]*\s*){1,3}\Z",
    re.IGNORECASE)
_REASON = re.compile(
    r"(?:\s*[,;(:\u2014\u2013-]+)?\s*(?<![\w$])(?:since|because|given that|due to"
    r"|as (?:we|it|there|the|this|that|they|both|all|each|only|if|shown|required|desired|expected|claimed|stated|above"
    r"|calculated|computed|found|determined|before|[\d$\\(]))\b"
    r"|\s*[,;]\s*(?:which|so|as|for|where|i\.?e|that is|meaning|making|giving|obtained|found|by|using|from|not"
    r"|rather than|instead of|therefore|thus|hence|completing|and (?:so|we))\b"
    r"|\s*[.;]\s+(?:this|that|it)(?: is|'s| follows| comes| works)? (?:because|since|from|as)\b"
    r"|,?\s+(?:when )?(?:rounded|to the nearest|correct to)\b|(?<=[\w$})%]):\s+(?=[^:\n]*=)"
    r"|[.\s]*\n\W*(?:explanation|reason|reasoning|justification)\b"
    r"|\s*(?:\u2014|\s\u2013\s|\s-{1,3}\s)(?=\s*[A-Za-z]{3})"
    r"|\s+\((?=(?:i\.e\.|from|by|see|using|where|that is)\b|[^()\n]*=[^()\n]*\)[.\s]*\Z)"
    r"|[\uff0c,]?(?:\u56e0\u4e3a|\u56e0\u70ba|\u7531\u4e8e|\u56e0\u6b64)", re.IGNORECASE)
"""Where the reason of an answer begins."""
_GREETING = re.compile(r"(?:Sure|Certainly|Of course|Okay)[,!.][^\n]{0,60}\n+")
_SENTENCE_BREAK = re.compile(r"[.!?;]\s|[\u3002\uff1b]\S|\?\W*\Z|\A(?:not|that|because)\b", re.IGNORECASE)
_OPTION = re.compile(r"[*(\s]*[A-J][).]+\s")
_TAKEN_BACK = re.compile(r"\b(?:wait|actually|hmm+|mistaken?|sorry|correction|maybe|perhaps|on second thought"
                         r"|(?:re-?|double-?|let me |let's )check)\b|\bno[,.!]"
                         r"|(?:\A|[.;])\W*or[ \t](?!equivalently|in other)"
                         r"|\balso[ \t]+(?:be[ \t]+)?(?:right|correct|works?|possible|valid|acceptable|fits?)\b",
                         re.IGNORECASE)
_WRAPPERS = (("**", "**"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("`", "`"))
_WRAPPED_AT_MOST = 3
_FORMULA = ("$", r"\(", r"\[", "**$")
_LONGEST = 80
_LONGEST_FORMULA = 300
_ENDING = 600
"""Characters in which a closing statement must stand."""
_LONGEST_EXPLANATION = 1 << 16


def closing(text: str) -> str | None:
    """The answer in `answer is x`, where nothing but politeness follows."""
    ending = _POLITENESS.sub("", text.rstrip()[-_ENDING:]).rstrip()
    cues = list(_CUE.finditer(ending))
    is_meant = bool(cues) and _is_meant(cues[-1])
    answer = _stated(without_reason(ending[cues[-1].end():])) if is_meant else None
    return _behind(ending) if answer is None else answer


def _is_meant(cue: re.Match[str]) -> bool:
    """Whether whoever says `the answer is x` says so for himself."""
    return not _UNMEANT.search(cue.string[max(0, cue.start() - _LONGEST_BEFORE):cue.start()])


def _behind(ending: str) -> str | None:
    """The answer in `x is the answer`, if there is one such sentence, and nothing or its reason follows."""
    found = list(_BEHIND.finditer(ending))
    answers = {unwrapped(match["several"] or match["answer"]) for match in found}
    if len(answers) != 1:
        return None
    rest = ending[found[-1].end():]
    is_reason = _REASON.match(rest) and explains(rest)
    return answers.pop() if is_reason or not rest.strip(".!* \n") else None


def opening(text: str) -> str | None:
    """The answer in `answer is x` as the first sentence of the first line, where the rest only explains it."""
    text = _GREETING.sub("", text, count=1)
    cue = _CUE.search(text[:_ENDING].partition("\n")[0])
    if cue is None or not _is_meant(cue):
        return None
    line, _, rest = text[cue.end():].lstrip(" \t").partition("\n")
    stop = _sentence_break(line)
    if stop and stop[0][0] not in ".!":
        return None
    end = stop.start() if stop else len(line)
    return _stated(without_reason(line[:end])) if explains(f"{line[end:]}\n{rest}") else None


def without_reason(text: str) -> str:
    """A short answer without the reason that follows it in the same sentence; all of a text that is no such thing.

    >>> without_reason("5, since 2 + 3 = 5."), without_reason("B because it is larger"), without_reason("since 5")
    ('5', 'B', 'since 5')
    """
    reason = _REASON.search(text, 0, _LONGEST_FORMULA)
    if reason is None or not text[:reason.start()].strip() or not explains(text[reason.start():]):
        return text
    return text[:reason.start()]


def explains(rest: str) -> bool:
    """Whether text after an answer states no other and takes nothing back."""
    return len(rest) < _LONGEST_EXPLANATION and not (_CUE.search(rest) or _TAKEN_BACK.search(rest))


def last(text: str) -> str | None:
    """The answer in the last `answer is x` that is short, whatever follows it; a guess."""
    text = text[-_LONGEST_EXPLANATION:]
    for cue in filter(_is_meant, reversed(list(_CUE.finditer(text)))):
        line = text[cue.end():cue.end() + _LONGEST + 1].strip().partition("\n")[0]
        stop = _sentence_break(line)
        answer = unwrapped(line[:stop.start()] if stop else line)
        if answer and len(line) <= _LONGEST and (stop is None or "?" not in stop[0]):
            return answer
    return None


def unwrapped(text: str) -> str | None:
    """`text` without the emphasis, mathematics signs and full stop around it; None if nothing is left."""
    text = _without_stop(text.rstrip().removesuffix("**") if text.count("**") % 2 else text)
    for _ in range(_WRAPPED_AT_MOST):
        for left, right in _WRAPPERS:
            inner = text[len(left):len(text) - len(right)]
            if len(text) >= len(left + right) and text == left + inner + right and left not in inner:
                text = _without_stop(inner)
    return text.removesuffix("**").rstrip() or None


def _without_stop(text: str) -> str:
    return text.strip().removesuffix(".").removesuffix("\u3002").rstrip()


def _stated(text: str) -> str | None:
    """What is said to be the answer, if it is short and one sentence."""
    text = text.strip()
    if len(text) > (_LONGEST_FORMULA if text.startswith(_FORMULA) else _LONGEST) or _sentence_break(text):
        return None
    answer = unwrapped(text)
    return None if answer and "\n" in answer else answer


def _sentence_break(text: str) -> re.Match[str] | None:
    """Where a sentence ends or turns; not after the `B.` of an option."""
    option = _OPTION.match(text)
    is_text = option and not _TAKEN_BACK.search(text, option.end())
    return _SENTENCE_BREAK.search(text, option.end() if option and is_text else 0)
