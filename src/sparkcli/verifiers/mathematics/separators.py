r"""What separates the parts of an answer: commas in numbers and between them, words such as `or`, rows, brackets."""

import re

_GROUPED = re.compile(r"(?<![\d.,])([1-9]\d{0,2}(?:,\d{3})+)(?!\d|,\d)")
"""Digits in groups of three. A first group of 0 is none: `0,125` is a decimal."""
_DECIMAL_COMMA = re.compile(r"(?<![\d.,\w])0,(\d{3})(?![\d,])")
_LAKHS = re.compile(r"(?<![\d.,])([1-9]\d?(?:,\d{2})+,\d{3})(?!\d|,\d)")
_DOTTED = re.compile(r"(?<![\d.,])([1-9]\d{0,2}(?:\.\d{3})+),(\d{1,2})(?![\d,])")
_SPACED = re.compile(r"(?<![\d.,])(\d{1,3}(?:(?:\\[,;: ]|[ ~])\d{3})+),(\d+)(?![\d,])")
_BETWEEN_DIGITS = re.compile(r"(?<=\d),(?=\d)")
_TURNED = re.compile(r"\][^\[\]();]*;[^\[\]();]*[\[\]]|\[[^\[\]();]*;[^\[\]();]*\[")
_BRACKET = re.compile(r"\\[{}]|[()\[\]{}]")
_ARGUMENT = re.compile(r"(?:\\[a-zA-Z]+(?:\[[^\[\]]*\])?|\}|\^|_)\s*$")

_WORDS = (r"and|or|ou|et|oder|und|lub|и|или|или же|或|或者|和|与|與|及|以及|또는|그리고|または|および|と|och|eller|"
          r"veya|ve|atau|dan|hoặc|và|या|और|أو|و")
_BETWEEN = re.compile(rf"\s*,?\s*\\(?:text(?:rm|bf|it|normal)?|mathrm|mbox|operatorname)\s*"
                      rf"\{{(?:[\s~]*,?\s*(?:{_WORDS})[\s~]*|[\s~]+[oyeui][\s~]+)\}}\s*")
_FOREIGN = re.compile(r"\s*,?\s*"
                      r"(?:或者?|以及|[和与與及]|また[はわ]|または|および|또는|그리고|및|(?<=\d)(?:과|와|と)(?=\s*\d)"
                      r"|(?<=[\s\d)}])(?:или|и|أو|و|या|और|hoặc|và)(?=[\s\d(\\-]))\s*,?\s*")
_LATIN = re.compile(r"(?<=[\d)}\]\w])\s+"
                    r"(?:ou(?: bien)?|oder|und|et|eller|och|og|veya|ve|atau|dan|lub|albo|soit)\s+(?=[-+\d(\\\[a-zA-Z])")
_CONTINENTAL = re.compile(r"\d,\d{1,2}(?!\d).*"
                          r"(?<![A-Za-z])(?:ou|oder|und|et|или|och|eller)(?![A-Za-z]).*\d,\d", re.DOTALL)
"""Two numbers with commas, and a word between them from a language whose decimals have commas."""
_ENGLISH = re.compile(r"\\(?:text[a-z]*|mathrm|mbox)\s*\{[^{}]*\}|\s*,?\s*(?<![a-zA-Z\\{])(?:and|or)(?![a-zA-Z}])\s*")
_GLUED = re.compile(r"(?<=[\d)}\]])(?:or|and)(?=[A-Z(\\\d-]|[a-z]\s*[=(])")
_LOGIC = re.compile(r"\s*\\(?:lor|vee)(?![a-zA-Z])\s*")
_NAME = r"[a-zA-Z](?:_\{?\w+\}?)?"
_PLAIN = r"[-+]?(?:[\d./]*\d|\\[dt]?frac\{\d+\}\{\d+\}|\d*\\sqrt\{?\d+\}?)"
_BLANK = r"[\s~]|\\[,;: ]"
_JOINT = (r"[/|&]|\\q?quad(?![a-zA-Z])|\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|(?<![a-zA-Z\\])[a-zA-Z]{1,10}(?![a-zA-Z=_])"
          r"|[^\x00-\x7f]+")
_SOLVED_AGAIN = re.compile(rf"((?:^|,)\s*([a-zA-Z])(?:_\{{?\w+\}}?)?\s*=[^=,;<>]{{0,60}}?"
                           rf"(?:[\d}})\]!%]|\\(?:pi|infty)|(?<![a-zA-Z\\])[a-zA-Z]))(?:{_BLANK}|{_JOINT})*"
                           r"(?=\2(?:_\{?\w+\}?)?\s*=)")
"""An equation before another of the same variable, whatever is between them: `x=1 vagy x=-2`."""
_SOLVED = re.compile(rf"((?:^|,)\s*{_NAME}\s*=\s*{_PLAIN})(?:{_BLANK})*(?:{_JOINT})(?:{_BLANK}|{_JOINT})*"
                     rf"(?={_NAME}\s*=)")
"""A value before an equation of another variable, where more than spaces is between them: `x=1 \\quad y=2`."""
_MOST_EQUATIONS = 8
_LISTED_NUMBERS = re.compile(r"((?:^|,)\s*-?\d+)\s+[oyeu]\s+(?=\d+\s*$)")
"""`2 y 3` in Spanish, and the like."""
_SPACED_COMMA = re.compile(r"\s*(?:\\q?quad(?![a-zA-Z])|\\[;:])\s*(?=(?:and|or)\b|,)")

_ROWS = re.compile(r"\\begin\s*\{\s*([a-zA-Z]+\*?)\s*\}")
_MATRIX_NAME = re.compile(r"\\(begin|end)\s*\{\s*(?:small|[pbBvV])?matrix\*?\s*\}(?:\s*\[[clr]\])?")
_DETERMINANT = re.compile(r"\\(begin|end)\s*\{\s*vmatrix\*?\s*\}")
_ARRAY = re.compile(r"\\begin\s*\{\s*array\s*\}\s*(?:\[[tcb]\])?\s*\{[^{}]*\}")
_BREAK = re.compile(r"\\\\(?:\s*\[\s*-?[\d.]+\s*(?:pt|mm|cm|em|ex)\s*\]|\*)?")
_BREAKS = re.compile(r"\s*\\\\(?:\s*\\\\)*\s*")
_LAST_BREAK = re.compile(r"\s*(?:\\\\\s*)+(?=\\end\b)")
_LINE = re.compile(r"\\(?:hline|cline\{[^{}]*\}|toprule|midrule|bottomrule)(?![a-zA-Z])")
_LISTED = re.compile(r"(?:\\left\s*)?(?:\\\{|\\lbrace)?\s*\\begin\s*"
                     r"\{\s*(cases|aligned|align\*?|gathered|gather\*?|split|rcases|dcases)\s*\}"
                     r"(?:\s*\{[clr| ]*\})?(.*?)\\end\s*\{\s*\1\s*\}(?:\s*\\right\s*\.?)?", re.DOTALL)
_SYSTEM = re.compile(r"(?:\\left\s*(?:\\\{|\\lbrace)\s*\\begin\s*\{array\}\s*\{[^{}]*\}|\\begin\s*\{array\}\s*\{[lcr]\}"
                     r"(?=[^&]*=[^&]*\\end))(.*?)\\end\s*\{array\}(?:\s*\\right\s*\.?)?", re.DOTALL)
_DEFINED = re.compile(r"^[^={}]*=\s*((?:\\left\s*)?(?:\\\{|\\lbrace)?\s*\\begin\s*\{\s*[rd]?cases\s*\})")
_CONDITION = re.compile(r"\\(?:text|mbox|mathrm)\s*\{[\s,]*(?:if|for|when|where)[\s,]*\}"
                        r"|(?<![a-zA-Z])(?:if|for|when)(?![a-zA-Z])")

_SEMICOLON = re.compile(r"((?:[(\[]|\\lgroup)[^()\[\],;]+);([^()\[\],;]+(?:[)\]]|\\rgroup))")
_CLOSED = re.compile(r"\s*(?:$|[,;.)}]|\\(?:cup|cap|setminus|text|quad|})|(?:and|or)\b)")
_INTERVAL_BRACKET = re.compile(r"\\sqrt\s*\[[^\[\]]*\]|[\[\]()]|[,;]")


def with_single_commas(text: str) -> str:
    r"""A text whose commas all separate: those that group digits are gone, decimal ones are points.

    >>> with_single_commas(r"n = 12,000"), with_single_commas("(100,200)"), with_single_commas("(1,000, 2,000)")
    ('n = 12000', '(100,200)', '(1000, 2000)')
    """
    if "," not in text:
        return text
    text = _SPACED.sub(lambda match: f"{re.sub(r'[^0-9]', '', match[1])}.{match[2]}", text)
    text = _DOTTED.sub(lambda match: f"{match[1].replace('.', '')}.{match[2]}", text)
    text = _LAKHS.sub(lambda match: match[1].replace(",", "") if re.search(r",0", match[1]) else match[1], text)
    text = _semicolons(text)
    spans = _list_spans(text)
    if not spans:
        text = _DECIMAL_COMMA.sub(r"0.\1", text)
    return _GROUPED.sub(lambda match: _ungrouped(match, spans), text)


def _semicolons(text: str) -> str:
    """Brackets whose items are apart by semicolons: other commas between digits are decimal."""
    for start, end in _list_spans(text):
        if ";" in text[start:end] and not re.search(r",\s", text[start:end]):
            text = text[:start] + _BETWEEN_DIGITS.sub(".", text[start:end]) + text[end:]
    return _TURNED.sub(lambda match: _BETWEEN_DIGITS.sub(".", match[0]), text) if ";" in text else text


def _ungrouped(match: re.Match[str], spans: list[tuple[int, int]]) -> str:
    """A number without its commas, unless it can be a list within brackets: there, commas with spaces tell."""
    inner = max((span for span in spans if span[0] <= match.start() < span[1]), default=None)
    if inner is not None and not re.search(r",0\d\d", match[1]):
        others = match.string[inner[0]:match.start()] + " " + match.string[match.end():inner[1]]
        if not re.search(r",\s|;", others):
            return match[1]
    return match[1].replace(",", "")


def _list_spans(text: str) -> list[tuple[int, int]]:
    """Where brackets hold what may be a list: not the braces of a command's argument."""
    spans, opened = [], []
    for bracket in _BRACKET.finditer(text):
        if bracket[0][-1] in "([{":
            is_argument = bracket[0] == "{" and _ARGUMENT.search(text[max(0, bracket.start() - 30):bracket.start()])
            opened.append(None if is_argument else bracket.end())
        elif opened and (start := opened.pop()) is not None:
            spans.append((start, bracket.start()))
    return spans


def with_commas(text: str) -> str:
    r"""A text with commas for the words between several answers; between equations, of any language.

    >>> with_commas(r"a=1 或 a=-2"), with_commas(r"1 \mathrm{~or~} 2"), with_commas("x=2 vagy x=3")
    ('a=1 , a=-2', '1 , 2', 'x=2 , x=3')
    """
    if _CONTINENTAL.search(text):
        text = _BETWEEN_DIGITS.sub(".", text)
    text = _BETWEEN.sub(" , ", text)
    text = _LOGIC.sub(" , ", text)
    text = _GLUED.sub(" , ", _LATIN.sub(" , ", text))
    text = _ENGLISH.sub(lambda match: match[0] if match[0].startswith("\\") else " , ", text)
    text = _LISTED_NUMBERS.sub(r"\1 , ", text)
    for _ in range(min(text.count("=") - 1, _MOST_EQUATIONS)):
        text = _SOLVED.sub(r"\1 , ", _SOLVED_AGAIN.sub(r"\1 , ", text))
    return text if text.isascii() else _FOREIGN.sub(" , ", text)


def with_rows(text: str) -> str:
    r"""A text whose matrices math-verify can read, and whose cases and systems are lists.

    >>> with_rows(r"\begin{bmatrix}1\\\frac{1}{2}\\\end{bmatrix}"), with_rows(r"\begin{cases}x=1\\y=2\end{cases}")
    ('\\begin{pmatrix}1 \\\\ \\frac{1}{2} \\end{pmatrix}', 'x=1, y=2')
    """
    if "\\begin" not in text:
        return _BREAK.sub(", ", text).strip(", ") if "\\\\" in text else text
    text = _DEFINED.sub(r"\1", _SYSTEM.sub(lambda match: _listed(match[1]), text))
    text = _LINE.sub(" ", _LISTED.sub(lambda match: _listed(match[2]), text))
    if "\\begin" not in text:
        return text
    text = _LAST_BREAK.sub(" ", _BREAKS.sub(r" \\\\ ", _BREAK.sub(r" \\\\ ", text)))
    text = _ARRAY.sub(r"\\begin{pmatrix}", text.replace("\\end{array}", "\\end{pmatrix}"))
    return _MATRIX_NAME.sub(_matrix, text)


def _matrix(match: re.Match[str]) -> str:
    """Any matrix but a determinant has the same brackets."""
    return match[0] if _DETERMINANT.fullmatch(match[0]) else rf"\{match[1]}{{pmatrix}}"


def _listed(rows: str) -> str:
    """The rows of cases or of a system as a list; a value with its condition is a pair."""
    lines = [_CONDITION.sub(" ", row).split("&") for row in _BREAK.split(_LINE.sub(" ", rows))]
    cells = [[cell.strip(" ,.;") for cell in row] for row in lines]
    listed = [[cell for cell in row if cell] for row in cells if any(row)]
    are_pairs = all(len(row) == 2 and "=" not in row[0] for row in listed) and not any(
        re.match(r"=|\\[lg]e", row[-1]) for row in listed)
    return ", ".join(f"({row[0]}, {row[1]})" if are_pairs else " ".join(row) for row in listed)


def with_open_brackets(text: str) -> str:
    r"""Intervals that are open where a bracket is turned outwards, with the parentheses that TeX calls groups.

    >>> with_open_brackets(r"[0;1[ \cup ]2,3]"), with_open_brackets("[1,2]"), with_open_brackets(r"\left]1,2\right[")
    ('[0,1\\rgroup  \\cup \\lgroup 2,3]', '[1,2]', '\\left\\lgroup 1,2\\right\\rgroup ')
    """
    if "[" not in text and "]" not in text:
        return text
    pieces, start, depth, has_comma, has_turned = [], 0, 0, False, False
    for sign in _INTERVAL_BRACKET.finditer(text):
        bracket = sign[0]
        if len(bracket) > 1:
            continue
        if bracket in ",;":
            has_comma = has_comma or depth == 1
            continue
        is_closing = depth == 1 and has_comma and bracket != "(" and (bracket != "[" or _CLOSED.match(text, sign.end()))
        if depth == 0 or (bracket in "([" and not is_closing):
            turned = r"\lgroup " if bracket == "]" else bracket
            depth, has_comma = depth + 1, has_comma and depth > 0
        else:
            turned = r"\rgroup " if bracket == "[" else bracket
            depth -= 1
        has_turned = has_turned or turned != bracket
        pieces += [text[start:sign.start()], turned]
        start = sign.end()
    text = "".join([*pieces, text[start:]]) if has_turned and depth == 0 else text
    return _SEMICOLON.sub(r"\1,\2", text)
