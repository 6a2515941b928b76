"""Which policy a vLLM server samples: adapters and weights that are loaded into it at run time.

Full weights replace the server's own in place, and cached keys and values of the old ones are dropped; an adapter
gets a name made of its content, so that equal names are equal policies and a swap needs no waiting.

Full weights that a killed command has left in a server, and a server that has started anew without them, are noticed
where the server tells whose weights it has: those that `sparkcli serve` starts do.
"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sparkcli.engines.openai.connection import RefusedError, TroubleError
from sparkcli.engines.openai.servers import Server
from sparkcli.engines.vllm.settings import names_normalisation, reaches_images
from sparkcli.errors import UsageError
from sparkcli.models.fingerprint import is_adapter, model_fingerprint, policy_fingerprint
from sparkcli.models.reader import Reader

log = logging.getLogger(__name__)

RESET_TRIES, RESET_SECONDS = 40, 0.25
"""A cache whose blocks are in use cannot be dropped: requests that were just cancelled end first."""

LEAVING_SECONDS = 10.0

SAMPLE_TEXT = "12 + 30 = 42? Let us see: π ≈ 3.14159, so “Yes”.\n\tdef f(x): return x**2"

SERVE = "start the server with `sparkcli serve`"


@dataclass(frozen=True)
class Held:
    """What is to be sampled: the bare model, an adapter on it, or full weights in its place."""

    fingerprint: str
    directory: Path | None = None
    """None: the bare model."""

    @property
    def adapter(self) -> str | None:
        """The name that servers know it by, of an adapter."""
        return self.fingerprint if self.directory and is_adapter(self.directory) else None


def held_in(directory: Path, base_fingerprint: str) -> Held:
    """The policy in a directory, of the model with this fingerprint.

    Raises:
        UsageError: it is not a whole policy.
    """
    return Held(policy_fingerprint(directory, base_fingerprint), directory.resolve())


async def load(server: Server, held: Held) -> None:
    """Makes a server sample a policy from now on.

    Raises:
        TroubleError: the server does not answer.
        UsageError: it cannot load the policy, or was started without what that needs.
    """
    assert server.facts is not None
    wanted = held.fingerprint if held.directory and not held.adapter else None
    await _look(server)
    if server.weights != wanted:
        await _reload(server, str(held.directory) if wanted else server.facts.base.root)
        server.weights = wanted
    if held.adapter and held.directory:
        await _load_adapter(server, held.adapter, held.directory)
    server.target = held.adapter or server.facts.base.id


async def unload_others(server: Server) -> None:
    """Takes adapters out of a server that were loaded from here and are not sampled any more."""
    for name in sorted(server.adapters - {server.target}):
        try:
            await server.connection.call("unload_lora_adapter", {"lora_name": name})
        except (RefusedError, TroubleError):  # gone already, or the server is: either way nothing samples it
            continue
        finally:
            server.adapters.discard(name)


async def leave(server: Server) -> None:
    """Gives a server its own weights back, so that who comes next does not take others for them."""
    if server.facts is None or server.weights is None:
        return
    try:
        async with asyncio.timeout(LEAVING_SECONDS):
            await _reload(server, server.facts.base.root)
    except (TimeoutError, TroubleError, UsageError):
        log.warning("%s may still hold a policy's full weights; start it anew before it samples the bare model",
                    server.name)


def target_of(server: Server, held: Held, served_name: str | None) -> str:
    """The name under which a server has a policy already, whoever loaded it.

    Raises:
        UsageError: it has not.
    """
    assert server.facts is not None
    if held.directory is None:
        return server.facts.base.id
    for card in server.facts.cards:
        is_here = card.root is not None and Path(card.root).resolve() == held.directory
        if is_here or card.id == held.adapter or (card.id == served_name and card.parent is not None):
            return card.id
    raise UsageError(f"{server.name}: does not have the policy in {held.directory}; --sync-adapters loads it there")


async def check_model(server: Server, reader: Reader, fingerprint: str, policy: Path | None) -> None:
    """Raises UsageError where a server reads text otherwise than the model given, or has another one's weights.

    Args:
        server: has said where it has its model from; weights are compared where that is a folder here.
        reader: of the model that -m names.
        fingerprint: of that model.
        policy: full weights that the server may have been started with.
    """
    assert server.facts is not None
    server.reads_images = reader.processor is not None
    base = server.facts.base
    other = f"{server.name}: serves {base.root or base.id}, which is not the model {reader.name!r}; give that with -m"
    ids = reader.tokenizer(SAMPLE_TEXT, add_special_tokens=False)["input_ids"]
    if await _tokenized(server, SAMPLE_TEXT) not in (None, ids):
        raise UsageError(other)
    if base.root is None or not (Path(base.root) / "config.json").is_file():
        return
    is_policy = policy is not None and policy.resolve() == Path(base.root).resolve()
    if not is_policy and model_fingerprint(Path(base.root)) != fingerprint:
        raise UsageError(other)


async def check_pixels(server: Server, folder: Path) -> None:
    """Raises UsageError where a server would not normalise images as the model in `folder` was trained on them."""
    if names_normalisation(folder):
        return
    images = (await _settings(server)).get("model_config", {}).get("multimodal_config", {})
    if images.get("mm_device_do_normalize", True):
        raise UsageError(f"{server.name}: takes the mean and deviation of images from the model's "
                         f"preprocessor_config.json, which names none; {SERVE}")


async def check_reach(server: Server, held: Held, folder: Path) -> None:
    """Raises UsageError where an adapter changes what reads images, and the server would leave that part out.

    Args:
        server: vLLM does so unless it is told otherwise when it starts.
        held: what is to be sampled.
        folder: of the model.
    """
    if held.directory is None or not held.adapter or not reaches_images(folder, held.directory):
        return
    if not (await _settings(server)).get("lora_config", {}).get("enable_tower_connector_lora"):
        raise UsageError(f"{server.name}: leaves out what the adapter in {held.directory} changes of how images are "
                         "read; start it with `sparkcli serve --vllm enable_tower_connector_lora=true`")


async def _settings(server: Server) -> dict[str, Any]:
    """What a server says that it was started with; empty where it does not tell."""
    try:
        told = await server.connection.read("/server_info?config_format=json")
    except RefusedError:
        return {}
    found = told.get("vllm_config") if isinstance(told, dict) else None
    return {name: value for name, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}


async def _tokenized(server: Server, text: str) -> object:
    """The ids that a server makes of a text; None where it does not tell."""
    assert server.facts is not None
    body = {"model": server.facts.base.id, "prompt": text, "add_special_tokens": False}
    try:
        reply = await server.connection.read("/tokenize", body)
    except RefusedError:
        return None
    return reply.get("tokens") if isinstance(reply, dict) else None


async def _load_adapter(server: Server, name: str, directory: Path) -> None:
    try:
        await server.connection.call("load_lora_adapter", {"lora_name": name, "lora_path": str(directory)})
        server.adapters.add(name)
    except RefusedError as error:
        if "already been loaded" in error.said:
            return
        if error.status == 404 and error.said == "Not Found":
            raise UsageError(f"{server.name}: takes no adapters at run time; {SERVE}, or with --enable-lora and the "
                             "environment variable VLLM_ALLOW_RUNTIME_LORA_UPDATING=True") from None
        raise UsageError(f"{server.name}: cannot load the adapter in {directory}: {error.said}; it must see that "
                         "folder, and have a --max-lora-rank as large as the adapter's") from None
    except TroubleError as error:
        if not str(error).startswith("HTTP 500"):
            raise
        raise UsageError(f"{server.name}: cannot load the adapter in {directory}: {error}; {SERVE}, with a "
                         "--max-lora-rank as large as the adapter's") from None


async def _look(server: Server) -> None:
    """Sets right what is believed of a server's weights, where it tells."""
    assert server.facts is not None
    if not server.tells_weights:
        return
    try:
        reply = await server.connection.read("/collective_rpc", {"method": "weights_folder"})
    except RefusedError:
        server.tells_weights = False
        return
    except TroubleError as error:
        if not str(error).startswith("HTTP 500"):
            raise
        server.tells_weights = False
        return
    if not isinstance(reply, dict) or not isinstance(reply.get("results"), list):
        raise TroubleError("a reply without results")
    if reply["results"] == [server.facts.base.root] * len(reply["results"]):
        server.weights = None
    elif server.weights is None:
        server.weights = ""


async def _reload(server: Server, directory: str | None) -> None:
    """Full weights from a directory. vLLM takes the last path for its model's own: the way back must name it too."""
    while server.in_flight:  # of a server that is being taken back: its last requests, each with its own time limit
        await asyncio.sleep(RESET_SECONDS)
    server.weights = ""
    body = {"method": "reload_weights", "kwargs": {"weights_path": directory}}
    try:
        await server.connection.call("/collective_rpc", body)
        await _reset_cache(server)
        if server.reads_images:  # what the old weights have made of them
            await server.connection.call("/reset_encoder_cache", {})
    except RefusedError as error:
        raise UsageError(f"{server.name}: cannot load full weights ({error}); {SERVE}, or with the environment "
                         "variable VLLM_SERVER_DEV_MODE=1") from None
    except TroubleError as error:
        if not str(error).startswith("HTTP 500"):
            raise
        raise UsageError(f"{server.name}: cannot load the weights in {directory}: {error}; it must see that "
                         "folder") from None


async def _reset_cache(server: Server) -> None:
    for _ in range(RESET_TRIES):
        reply = await server.connection.call("/reset_prefix_cache", {})
        if not reply or orjson.loads(reply).get("success", True):
            return
        await asyncio.sleep(RESET_SECONDS)
    raise TroubleError("its prefix cache stays in use, so that keys and values of other weights cannot be dropped; is "
                  "somebody else sampling there?")
