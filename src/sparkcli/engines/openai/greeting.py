"""What a server says of itself, and what it turns out to be. Found out by asking, never by version numbers.

A vLLM server takes and returns token ids (`return_token_ids`), and its log-probs are those of the sampling
distribution where it was started with `--logprobs-mode processed_logprobs`: under top-k 1 they are then exactly 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sparkcli.engines.openai.connection import Connection, RefusedError, TroubleError
from sparkcli.errors import UsageError

GREETING_SECONDS = 60.0
PROBE_TOKENS = 4


@dataclass(frozen=True)
class Card:
    """A model or adapter that a server lists."""

    id: str
    root: str | None
    """Where the server has it from."""
    parent: str | None
    """Of an adapter: the model it belongs to."""
    owner: str
    max_model_len: int | None


@dataclass(frozen=True)
class Facts:
    """What is known of a server."""

    cards: Sequence[Card]
    served: Card
    """What is asked for by the settings: a model, or an adapter."""
    base: Card
    """The model itself."""
    engine: str
    """Name and version, e.g. `vllm-0.32.0`."""
    takes_tokens: bool
    is_exact: bool
    """Whether its log-probs are those of the sampling distribution."""


async def greet(connection: Connection, served_name: str | None, model: str, timeout: float) -> Facts:
    """Asks a server what it is.

    Args:
        connection: to the server.
        served_name: what it must serve; None: `model`, or the only one.
        model: as -m names it.
        timeout: of the settings, for one reply.

    Raises:
        TroubleError: it does not answer, or not as a server of this kind does.
        UsageError: it does not take the key, or does not serve what is asked for.
    """
    seconds = min(timeout, GREETING_SECONDS)
    cards = await list_models(connection, seconds)
    served = choose(cards, served_name, model, connection.name)
    base = next((card for card in cards if card.id == served.parent), served)
    if base.owner != "vllm" and base.max_model_len is None:
        return Facts(cards, served, base, base.owner, takes_tokens=False, is_exact=False)
    takes_tokens, is_exact = await _probe(connection, base.id, seconds)
    return Facts(cards, served, base, await _engine(connection, base, seconds), takes_tokens, is_exact)


async def list_models(connection: Connection, timeout: float) -> list[Card]:
    """What a server lists."""
    try:
        listed = await connection.read("models", timeout=timeout)
    except RefusedError as error:
        hint = "; is it the base URL, which ends in /v1 as a rule?" if error.status in (404, 405) else ""
        raise UsageError(f"{connection.name}: does not list its models: {error}{hint}") from None
    cards = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(cards, list) or not all(isinstance(c, dict) and isinstance(c.get("id"), str) for c in cards):
        raise TroubleError("its list of models is not one; is it an OpenAI-compatible server?")
    return [Card(card["id"], card.get("root"), card.get("parent"), str(card.get("owned_by") or "unknown"),
                 card.get("max_model_len")) for card in cards]


def choose(cards: Sequence[Card], served_name: str | None, model: str, server: str) -> Card:
    """The listed model that is asked for: by name, else as -m names it, else the only one.

    Raises:
        UsageError: there is none, or several to choose from; lists them.
    """
    by_id = {card.id: card for card in cards}
    bases = [card for card in cards if card.parent not in by_id]
    name = served_name or model
    if name in by_id:
        return by_id[name]
    if served_name is None:
        found = bases if len(bases) == 1 else [card for card in bases if card.root == model]
        if len(found) == 1:
            return found[0]
    names = ", ".join(sorted(by_id)[:20]) or "nothing"
    asked = f"does not serve {name!r}; " if name else ""
    raise UsageError(f"{server}: {asked}it serves {names}; choose with --served-name")


async def _probe(connection: Connection, model: str, timeout: float) -> tuple[bool, bool]:
    """Whether the server takes and returns token ids, and whether its log-probs are the sampling distribution's."""
    body = {"model": model, "prompt": [1, 2, 3], "max_tokens": PROBE_TOKENS, "temperature": 1.0, "top_k": 1, "seed": 0,
            "logprobs": 0, "return_token_ids": True, "ignore_eos": True}
    try:
        reply = await connection.read("completions", body, timeout=timeout)
    except RefusedError:
        return False, False
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise TroubleError("a reply without choices")
    choice = choices[0]
    if choice.get("prompt_token_ids") != body["prompt"] or not isinstance(choice.get("token_ids"), list):
        return False, False
    logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or [None]
    return True, all(logprob == 0.0 for logprob in logprobs)


async def _engine(connection: Connection, base: Card, timeout: float) -> str:
    try:
        reply = await connection.read("/version", timeout=timeout)
        version = reply.get("version") if isinstance(reply, dict) else None
    except (RefusedError, TroubleError):  # not every server has it, and none needs it
        version = None
    return f"{base.owner}-{version}" if version else base.owner
