"""Rollouts whose sampler did not say all: the token ids they lack, so that the parent can score them.

Servers that are not vLLM's give text alone, and some give ids without log-probs of the sampling distribution. What is
there of ids is kept; the rest is made as the parent itself would have read and written it:

- the prompt by the chat template and the processor of images, as for sampling;
- the completion by the tokenizer, without the special tokens that open a text, and the end marker where it stopped.

The log-probs are then the parent's own, at the record's temperature. So such a rollout counts as drawn by the parent:
its ratio is 1 before the first update, and it is never stale. Nothing corrects for another model or another
distribution having drawn it. A text has many spellings in tokens; the tokenizer's need not be the one that was drawn.
"""

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from typing import Any, cast

from torch.nn import Embedding

from sparkcli.config import TrainConfig
from sparkcli.errors import InputError
from sparkcli.method.messages import begun
from sparkcli.models.chat_template import behind_reply
from sparkcli.models.policy import Policy
from sparkcli.models.prompts import encode
from sparkcli.models.reader import Reader
from sparkcli.records import Scored, groups
from sparkcli.training.samples import Phase, is_complete, read_phase
from sparkcli.training.sights import Sights

log = logging.getLogger(__name__)

def read(scored: Iterable[Scored], policy: Policy, config: TrainConfig, sights: Sights) -> Phase:
    """The samples of a phase, their images looked at; with `config.score_missing` those without log-probs are among
    them, to be scored.

    Raises:
        InputError: a rollout that cannot be trained on, or an image, named.
    """
    embeddings = cast(Embedding, policy.network.get_input_embeddings())
    known = with_ids(scored, policy.reader) if config.score_missing else scored
    phase = read_phase(known, embeddings.num_embeddings, policy.fingerprint, allow_stale=config.allow_stale,
                       score_missing=config.score_missing)
    sights.check(phase.groups)
    return phase


def with_ids(scored: Iterable[Scored], reader: Reader) -> list[Scored]:
    """The rollouts, those with a reward all with token ids; those that lacked something are left without log-probs.

    One warning tells how many there are.

    Raises:
        InputError: a prompt that the model cannot read, or no room for prompt and completion; it is named.
    """
    marker = end_marker(reader)
    given = [list(group) for group in groups(scored)]
    lacking = [[rollout for rollout in group if lacks(rollout)] for group in given]
    made = {id(before): after for group in lacking for before, after
            in zip(group, completed(group, reader, marker), strict=True)}
    if made:
        tell([rollout for group in lacking for rollout in group], list(made.values()), sum(map(len, given)), reader)
    return [made.get(id(rollout), rollout) for group in given for rollout in group]


def recorded(scored: Iterable[Scored]) -> list[Scored]:
    """The rollouts without those that `with_ids` would complete; one warning tells how many these are."""
    given = list(scored)
    kept = [rollout for rollout in given if not lacks(rollout)]
    if len(kept) < len(given):
        log.warning("%d of %d rollouts have no log-probs: nothing to compare with, left out", len(given) - len(kept),
                    len(given))
    return kept


def lacks(rollout: Scored) -> bool:
    """Whether a rollout would be trained on if all of it were known."""
    return rollout.reward is not None and not is_complete(rollout)


def completed(group: Sequence[Scored], reader: Reader, marker: int | None) -> list[Scored]:
    """Rollouts of one prompt with all ids, and without log-probs.

    Args:
        marker: what `end_marker` says.

    Raises:
        InputError: see `with_ids`.
    """
    asked = next((rollout for rollout in group if not rollout.prompt_token_ids), None)
    prompt_T = tuple(encode(asked, reader).token_ids) if asked else ()
    made = []
    for rollout in group:
        ids_T = rollout.token_ids if rollout.token_ids is not None else completion_ids(rollout, reader, marker)
        whole = dataclasses.replace(rollout, prompt_token_ids=rollout.prompt_token_ids or prompt_T, token_ids=ids_T,
                                    logprobs=None)
        check_room(whole, reader)
        made.append(whole)
    return made


def completion_ids(rollout: Scored, reader: Reader, marker: int | None) -> tuple[int, ...]:
    """A completion's text in tokens, with the end marker where it stopped by itself."""
    tokenizer: Any = reader.tokenizer
    ids = tokenizer(rollout.completion.removeprefix(begun(rollout)), add_special_tokens=False)["input_ids"]
    stopped = rollout.finish_reason in ("stop", None) and marker is not None
    return (*ids, *((marker,) if stopped else ()))


def end_marker(reader: Reader) -> int | None:
    """The token that ends a reply: the first stop token that the chat template puts behind one, since checkpoints may
    name another as their tokenizer's; else the tokenizer's end of sequence, or the first that the generation settings
    name."""
    behind = behind_reply(reader.tokenizer, reader.processor)
    if (marker := next((token for token in behind if token in reader.stop_ids), None)) is not None:
        return marker
    tokenizer: Any = reader.tokenizer
    first: int | None = next(iter(reader.stop_ids), None)
    return first if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)


def check_room(rollout: Scored, reader: Reader) -> None:
    """Raises InputError where prompt and completion, in tokens, are more than the model was made for."""
    length = len(rollout.prompt_token_ids or ()) + len(rollout.token_ids or ())
    if reader.context is not None and length > reader.context:
        raise InputError(f"prompt {rollout.id!r}, sample {rollout.sample}: {length} tokens of prompt and completion "
                         f"are more than the model's context of {reader.context}; drop the record")


def tell(before: Sequence[Scored], after: Sequence[Scored], rollouts: int, reader: Reader) -> None:
    """Warns of what was made up: how many rollouts, and how many texts the tokenizer cannot spell."""
    had_ids = sum(rollout.token_ids is not None for rollout in before)
    spelt = [new for old, new in zip(before, after, strict=True) if old.token_ids is None]
    lossy = sum(reader.texts([rollout.token_ids or ()]) != [rollout.completion.removeprefix(begun(rollout))]
                for rollout in spelt)
    log.warning("%d of %d rollouts have no log-probs (%d text alone, %d with token ids): they get those of the policy "
                "that is updated, as if it had drawn them%s", len(before), rollouts, len(spelt), had_ids,
                f"; {lossy} texts do not come back from the tokenizer as they were" if lossy else "")
