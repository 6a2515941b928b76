r"""The same text in the characters of TeX: the first thing that is done to a gold answer and to an answer.

Wide and styled letters and digits, signs of Unicode, brackets and commas of other scripts, what cannot be seen, and
backslashes that were escaped twice. Nothing here knows what a text means; a text that is TeX already stays as it is.
"""

import re
import unicodedata
from html import unescape

_SPELLED = str.maketrans({
    # invisible: zero widths, directions, soft hyphens, variation selectors, invisible operators
    **dict.fromkeys((*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10),
                     0x00AD, 0xFEFF), ""),
    # minus, as it is typed; plus, times, division, roots, relations, sets, logic
    **dict.fromkeys("‐‑‒–—―−﹣－〜～", "-"), "×": r"\times ", "✕": r"\times ", "✖": r"\times ", "·": r"\cdot ",
    **dict.fromkeys("⋅∙•・", r"\cdot "), "÷": r"\div ", "±": r"\pm ", "∓": r"\mp ", "∕": "/", "⁄": "/", "∗": "*",
    "≤": r"\le ", "≦": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "≧": r"\ge ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
    "≡": r"\equiv ", "≅": r"\cong ", "∼": r"\sim ", "∝": r"\propto ", "∞": r"\infty ", "∅": r"\emptyset ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∉": r"\notin ", "∖": r"\setminus ", "⊂": r"\subset ",
    "⊆": r"\subseteq ", "⊇": r"\supseteq ", "∧": r"\land ", "∨": r"\lor ", "¬": r"\neg ", "→": r"\to ",
    "⇒": r"\Rightarrow ",
    "↔": r"\leftrightarrow ", "⇔": r"\Leftrightarrow ", "∑": r"\sum ", "∏": r"\prod ", "∫": r"\int ", "∂": r"\partial ",
    "∇": r"\nabla ", "∠": r"\angle ", "△": r"\triangle ", "⊥": r"\perp ", "∥": r"\parallel ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}",
    # brackets, bars, marks of sentences
    **dict.fromkeys("⟨〈《", r"\langle "), **dict.fromkeys("⟩〉》", r"\rangle "), "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    "⌈": r"\lceil ", "⌉": r"\rceil ", "｛": r"\{", "｝": r"\}", "【": "[", "】": "]", "〔": "[", "〕": "]", "∣": "|",
    **dict.fromkeys("、،﹐", ","), "؛": ";", "。": ".", "٫": ".", "٬": ",", "٪": "%", "∶": ":", "…": r"\ldots ",
    "⋯": r"\cdots ",
    # degrees and primes; quotation marks around an answer are none
    "°": r"^{\circ}", "º": r"^{\circ}", "℃": r"^{\circ}C", "℉": r"^{\circ}F", "′": "'", "″": "''", "’": "'", "‘": "'",
    **dict.fromkeys("“”„«»「」『』", ""),
    "㎡": r"\text{ m}^2", "㎥": r"\text{ m}^3",
    # currencies; ohm and micro as Greek letters
    **dict.fromkeys("€£¥￥₹₩₽￡￦", ""), "Ω": r"\Omega ", "µ": r"\mu ",
    "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\varepsilon ", "ζ": r"\zeta ",
    "η": r"\eta ", "θ": r"\theta ", "ι": r"\iota ", "κ": r"\kappa ", "λ": r"\lambda ", "μ": r"\mu ", "ν": r"\nu ",
    "ξ": r"\xi ", "π": r"\pi ", "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "υ": r"\upsilon ", "φ": r"\varphi ",
    "χ": r"\chi ", "ψ": r"\psi ", "ω": r"\omega ", "ϑ": r"\vartheta ", "ϕ": r"\phi ", "ϵ": r"\epsilon ",
    "Γ": r"\Gamma ", "Δ": r"\Delta ", "Θ": r"\Theta ", "Λ": r"\Lambda ", "Ξ": r"\Xi ", "Π": r"\Pi ",
    "Σ": r"\Sigma ", "Φ": r"\Phi ", "Ψ": r"\Psi "})
_VULGAR = re.compile(r"[\u00bc-\u00be\u2150-\u215e\u2189]")
_SQUARE_UNIT = re.compile(r"(?<=\d)\s*([cdkm]?m|ft|in|yd|mi)([²³])(?=\s*$)")
_RAISED = re.compile(r"[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹ⁿⁱ]+")
_LOWERED = re.compile(r"[₀₁₂₃₄₅₆₇₈₉ₐₑₒₓᵢⱼₖₙ]+")
_ROOT = re.compile(r"([√∛∜])\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[a-zA-Z]|\\[a-zA-Z]+)|(?=\{))")
_ROOTS = {"√": r"\sqrt", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]"}
_DIGIT = re.compile(r"[^\W\x00-\x7f]")

_ENTITY = re.compile(r"&(?:[lg][te]|amp|ne|times|minus|divide|plusmn|pi|deg|nbsp|quot|radic|infin|frac\d\d|sup[23]"
                     r"|#\d{1,5}|#x[0-9a-fA-F]{1,4});|\\u[0-9a-fA-F]{4}(?![a-zA-Z])")
"""Characters as HTML and JSON escape them."""
_HEXADECIMAL = re.compile(r"\\u((?!d[89a-fA-F])[0-9a-fA-F]{4})(?![a-zA-Z])")
_CONTROL = re.compile(r"[\x07\x08\x0b\x0c](?=[a-z])")
_ESCAPES = {"\x07": r"\a", "\x08": r"\b", "\x0b": r"\v", "\x0c": r"\f"}
_LINE_BREAK = re.compile(r"^(?:\\+n(?![a-zA-Z])\s*)+|(?:\s*\\+n)+$")
"""Escaped line breaks around a text."""
_SLASHES = re.compile(r"\\+")
_SINGLE = re.compile(r"(?<!\\)(?:\\\\)*\\[a-zA-Z]")
_ENVIRONMENT = re.compile(r"\\begin\s*\{")
_COMMANDS = (
    "begin|end|[dtc]?frac|sqrt|left|right|[lg]eq?|[lg]eqslant|neq?|lt|gt|text|textbf|textit|textrm|mbox|math[a-z]+|operatorname|"
    "pi|alpha|beta|gamma|delta|epsilon|varepsilon|theta|lambda|mu|nu|rho|sigma|tau|phi|varphi|omega|Omega|Delta|Gamma|"
    "infty|cdots?|times|div|pm|mp|in|notin|cup|cap|setminus|emptyset|varnothing|circ|degree|sin|cos|tan|cot|sec|csc|"
    "arcsin|arccos|arctan|s?inh|cosh|tanh|log|ln|lg|exp|lim|sum|prod|int|max|min|gcd|lcm|binom|dbinom|tbinom|choose|[ldc]?dots|"
    "q?quad|hat|vec|bar|overline|overrightarrow|tilde|dot|ddot|langle|rangle|lfloor|rfloor|lceil|rceil|[lr]?vert|mid|"
    "to|rightarrow|approx|equiv|p?mod|bmod|boxed|fbox|displaystyle|boldsymbol|bm|angle|triangle|prime|partial|forall|"
    "exists|lor|land|vee|wedge|ell|hbar|perp|parallel|cong|sim|underline|rm|bf|it|big[lr]?|Big[lr]?|[lr]brace|[lr]brack")
_TWICE = re.compile(rf"\\\\(?=(?:{_COMMANDS})(?![a-zA-Z])|[{{}}()\[\]%$]|[,;:!](?=\s*[\d\\]))")
"""Two backslashes before what is surely a command, where there are no rows."""

_ROW_END = re.compile(r"\\(?:cr|tabularnewline)(?![a-zA-Z])")
_PLAIN_TEX_MATRIX = re.compile(r"\\([pbv]?matrix)\s*\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
"""`\\pmatrix{1 & 2\\cr 3 & 4}`."""
_GROUP = re.compile(r"(?<=\d)\{\s*,\s*\}(?=(\d*)(?!\d))|(?<=\d)\s*,\\!\s*(?=\d)|(?<=\d)\\!,(?:\\!)?\s*(?=\d)")


def plain(text: str) -> str:
    r"""A text in the characters of TeX.

    >>> plain("（－３／４，x²）"), plain(r"-2 \\le x \\le 7"), plain("3{,}5"), plain(r"1{,}024")
    ('(-3/4,x^{2})', '-2 \\le x \\le 7', '3.5', '1,024')
    >>> plain(r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"), plain(r"\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}")
    ('\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}', '\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}')
    """
    if ("&" in text or "\\u" in text) and _ENTITY.search(text):
        text = _ENTITY.sub(lambda match: unescape(match[0]), text)
        text = _HEXADECIMAL.sub(lambda match: chr(int(match[1], 16)), text)
    if not text.isascii():
        text = _in_ascii(text)
    if "\\\\" in text:
        text = _escaped_once(text)
    if "matrix" in text or "\\cr" in text or "\\tab" in text:
        text = _PLAIN_TEX_MATRIX.sub(r"\\begin{\1}\2\\end{\1}", _ROW_END.sub(r"\\\\ ", text))
    if _CONTROL.search(text):
        text = _CONTROL.sub(lambda match: _ESCAPES[match[0]], text)
    if ",}" in text or "!" in text:
        text = _GROUP.sub(_separator, text)
    return _LINE_BREAK.sub("", text.strip()).strip() if "\\n" in text else text.strip()


def _in_ascii(text: str) -> str:
    text = _SQUARE_UNIT.sub(lambda match: rf"\text{{ {match[1]}}}^{2 if match[2] == '²' else 3}", text)
    text = _VULGAR.sub(_fraction, text)
    text = _RAISED.sub(lambda match: f"^{{{_folded(match[0])}}}", text)
    text = _LOWERED.sub(lambda match: f"_{{{_folded(match[0])}}}", text)
    text = unicodedata.normalize("NFKC", text.translate(_SPELLED)).translate(_SPELLED)
    text = _ROOT.sub(_root, text)
    return _DIGIT.sub(_digit, text)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("−", "-")


def _fraction(match: re.Match[str]) -> str:
    """`½`; `⅟` and the like, which are half a fraction, stay."""
    over, slash, under = unicodedata.normalize("NFKC", match[0]).partition("⁄")
    return rf"\frac{{{over}}}{{{under}}}" if slash and under else match[0]


def _root(match: re.Match[str]) -> str:
    inner = match[2] if match[2] is not None else match[3]
    return _ROOTS[match[1]] + (f"{{{inner}}}" if inner is not None else "")


def _digit(match: re.Match[str]) -> str:
    """A decimal digit of any script; other letters stay."""
    value = unicodedata.decimal(match[0], None)
    return match[0] if value is None else str(value)


def _escaped_once(text: str) -> str:
    r"""A text without the second of two backslashes, where they escape one another.

    A text whose every command has two is escaped twice, rows and all; where some have one, `\\` before the name of a
    command is an accident unless there are rows.
    """
    while "\\\\" in text and not _SINGLE.search(text) and _TWICE.search(text):
        has_rows = re.search(r"\\\\\\", text) is not None
        halved = _SLASHES.sub(_half, text) if has_rows else _TWICE.sub(r"\\", text)
        if halved == text:
            break
        text = halved
    return text if _ENVIRONMENT.search(text) else _TWICE.sub(r"\\", text)


def _half(match: re.Match[str]) -> str:
    return "\\" * ((len(match[0]) + 1) // 2)


def _separator(match: re.Match[str]) -> str:
    """A comma that TeX sets as part of a number: before three digits it groups them, else it is a decimal comma."""
    digits = match[1]
    if digits is None:
        return ","
    before = re.search(r"(?:^|[^\d.,}])(\d*)$", match.string[max(0, match.start() - 20):match.start()])
    is_group = len(digits) == 3 and not (before and (len(before[1]) > 3 or before[1].startswith("0")))
    return "," if is_group else "."


