r"""What a completion says to the one who asked, without what its model was thinking.

    <think>…</think>   <thinking>   <thought>   <reasoning>   <seed:think>   [THINK]…[/THINK]   ◁think▷…◁/think▷
    <|begin_of_thought|>…<|end_of_thought|>   <|START_THINKING|>…<|END_THINKING|>   <|inner_prefix|>…<|inner_suffix|>
    <|channel|>analysis<|message|>…<|end|>   <|channel>thought…<channel|>   Here is my thought process: …

and their like, as the published models write them (the parsers of vLLM know most). A thought that nothing closes goes
on to the end. Chat templates may open one themselves: what comes before an end of a thought that did not begin is a
thought, and so is all of a completion of which the record or its prompt says that it begins within one.

What chat templates put around a reply (`<|im_end|>`, `</s>`, the header of a channel) is no part of it either, nor is
another turn behind it.
"""

import re
from typing import Any

from sparkcli.records import Rollout

_NAME = (r"think(?:ing|_fast(?:er)?)?|thoughts?|reason(?:ing)?|scratchpad|(?:thinking|thought|reasoning)_process"
         r"|(?:inner|internal)_(?:monologue|thoughts?)|chain_of_thought|cot|analysis|(?:self_)?reflection")
_FINAL = r"\|channel\|>\s?final[^<]{0,80}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>"
_MARKER = re.compile(
    r"[<\[◁](?:"
    rf"(?<=[<◁])\|?(?P<ends_tag>/?)(?P<tag>(?:\w{{1,12}}[:|]|longcat_)?(?:{_NAME})(?::\w{{1,16}})?)\s?\|?[>▷]"
    r"|(?-i:(?<=\[)(?P<ends_capitals>/?)(?P<capitals>THINK(?:ING)?|REASONING)\])"
    r"|\|(?:\w{1,12}:)?(?:begin|start|(?P<ends_span>end))_(?:of_)?(?P<span>think(?:ing)?|thought|reasoning)"
    r"(?::\w{1,12})?\|>"
    r"|\|inner_(?:prefix|(?P<ends_inner>suffix))\|>(?P<inner>)"
    r"|\|(?:open|(?P<ends_named>close))\|>\s?(?P<named>think)\s?<\|sep\|>"
    r"|unused9(?:4>thought|(?P<ends_unused>5>))(?P<unused>)"
    r"|(?:\|channel>\s?thought|(?P<ends_gemma>channel\|>))(?P<gemma>)"
    r"|(?:\|channel\|>(?:analysis|commentary)[^<]{0,80}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>"
    r"|(?<=to=self<)\|message\|>|\|content_thinking\|>"
    rf"|(?P<ends_channel>\|(?:end|return|call|eom|end_message)\|>(?:\s*to=user<\|message\|>)?|\|start\|>\w{{0,20}}|{_FINAL}))(?P<channel>)"
    r")", re.IGNORECASE)
"""Begin or end of a thought: the group that matches last says of which kind, and `ends_` of that kind that it ends."""
_HINTS = ("think", "thought", "reason", "cot>", "scratchpad", "monologue", "analysis", "reflection", "|inner_",
          "<unused9", "channel", "to=self")
"""What is in any text with a begin or an end, in small letters."""
_BARE_ANALYSIS = re.compile("analysis(?=[A-Z])")
"""With which harmony's markers begin where they were taken out of the text."""
_FIRST_WORDS = ("analysis", "Here")
_PROSE = re.compile(r"\s*Here(?: is|'s) my thought process:")
_PROSE_END = re.compile(r"Here(?: is|'s) my response:")
_FRAME = re.compile(
    rf"<(?:\|start\|>\w{{0,20}}|{_FINAL}|\|(?:message|content_text|message_model)\|>"
    r"|\|(?:begin|end)_of_solution\|>|\|(?:START|END)_(?:RESPONSE|TEXT)\|>"
    r"|\|(?:open|close)\|>\s?(?:response|message)\s?<\|sep\|>)", re.IGNORECASE)
"""What stands around the reply where there may be thoughts before it."""
_TAGS = re.compile(r"</?(?:response|output)>", re.IGNORECASE)
"""What stands around it where there are."""
_END = re.compile(r"(?:<\|[\w:]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</s>|<s>|<(?:eos|bos|pad|unk|end_of_turn|turn\||eod|EOT)>"
                  r"|\[(?:EOS|PAD|/INST)\])\Z")
"""A marker with which a reply ends."""
_LONGEST_END = 64
_BEFORE = re.compile(r"(?:\s*\n)?(?: (?=\S))?")
"""Blank lines and a single space before a reply. More is the indentation of its first line, as in a function's body."""
_NEXT_TURN = re.compile(
    r"(?:<\|(?:im_end|eot_id|endoftext|end|end_of_text|eot|im_sep)\|>|<end_of_turn>|</s>|<｜end▁of▁sentence｜>)\s{0,9}"
    r"(?:<\|(?:im_start|start_header_id|user|assistant|system|begin_of_text)\|>|<start_of_turn>|<s>|\[INST\]"
    r"|<｜(?:User|Assistant)｜>|(?:Human|User|Question|Problem|Q) ?\d{0,3}:)")


def reply(completion: str, *, in_thought: bool = False) -> str:
    """All of a completion that is no thought. `in_thought`: it begins within one.

    >>> [reply(text) for text in ("<think>1?</think> 2.", "1?</think>2.", "2.", "<think>1, so", "<think>1</think>")]
    ['2.', '2.', '2.', '', '']
    >>> reply("1, so it is 1", in_thought=True), reply("1?</think>2.<|im_end|>", in_thought=True)
    ('', '2.')
    """
    if in_thought or _may_have_marker(completion):
        pieces = _outside(_after_words(completion), in_thought)[0]
        found = pieces != [completion]
        completion = _FRAME.sub("", "\n".join(pieces))
        if found:
            completion = _TAGS.sub("", completion)
    if "<" in completion and (turn := _NEXT_TURN.search(completion)):
        completion = completion[:turn.start()]
    return _without_ends(completion[_BEFORE.match(completion).end():].rstrip())  # type: ignore[union-attr]


def _may_have_marker(text: str) -> bool:
    """Whether a closer look is worth its time."""
    has_bracket = "<" in text or "[" in text or "◁" in text
    return text[:64].lstrip().startswith(_FIRST_WORDS) or (has_bracket and names_thoughts(text))


def names_thoughts(text: str) -> bool:
    """Whether a text has words that stand in the tags of thoughts. Of a pattern: whether it is about thoughts too."""
    return any(map(text.lower().__contains__, _HINTS))


def _after_words(text: str) -> str:
    """A text without what only words mark at its beginning."""
    if _BARE_ANALYSIS.match(text):
        return text.partition("assistantfinal")[2]
    if _PROSE.match(text) and (end := _PROSE_END.search(text)):
        return text[end.end():]
    return text.removeprefix("to=user<|message|>")


def _outside(text: str, in_thought: bool) -> tuple[list[str], bool]:
    """The pieces of a text that are outside of thoughts, and whether it ends outside."""
    pieces: list[str] = []
    start, thought = 0, "any" if in_thought else ""
    for marker in _MARKER.finditer(text):
        kind = str(marker.lastgroup)
        name = f"{kind} {marker[kind].lower()}"
        is_end = bool(marker[f"ends_{kind}"])
        if not thought and not is_end:
            pieces.append(text[start:marker.start()].removesuffix("to=self"))
            thought = name
        elif not thought and kind != "channel":  # the end of a channel is the end of any message
            pieces, start = [], marker.end()
        elif is_end and thought in (name, "any"):
            thought, start = "", marker.end()
    return [*pieces, "" if thought else text[start:]], not thought


def _without_ends(text: str) -> str:
    end = len(text)
    while end and text[end - 1] in ">]" and (marker := _END.search(text, max(0, end - _LONGEST_END), end)):
        end = marker.start()
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end]


def opens_thought(prompt: str) -> bool:
    r"""Whether what a model is given to go on from ends with the begin of a thought.

    >>> opens_thought("<|assistant|><think>\n"), opens_thought("<think>\n\n</think>\n\n"), opens_thought("Think!")
    (True, False, False)
    """
    text = prompt[-200:].rstrip()
    for marker in _MARKER.finditer(text):
        if marker.end() == len(text):
            return not marker[f"ends_{marker.lastgroup}"]
    return False


def reply_of(rollout: Rollout) -> str:
    """The reply in a rollout: see `reply`."""
    return reply(rollout.completion, in_thought=rollout.in_thought or _is_open(rollout.prompt))


def _is_open(prompt: str | list[dict[str, Any]]) -> bool:
    """Whether a prompt as its record has it leaves a thought open: at its end, or in the reply that it begins."""
    if isinstance(prompt, str):
        return opens_thought(prompt)
    last = prompt[-1]
    if last["role"] != "assistant":
        return False
    content = last.get("content") or ""
    text = content if isinstance(content, str) else "\n".join(part.get("text") or "" for part in content)
    return not _outside(text, in_thought=False)[1]
