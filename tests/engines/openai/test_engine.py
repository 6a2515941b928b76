"""The openai engine at servers that misbehave: nothing lost, nothing doubled, in order, in time."""

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.engines.openai import faulty
from tests.engines.openai.faulty import Answerer, Faulty, Running, serving

from sparkcli.config import ModelConfig, RolloutConfig, ServerConfig
from sparkcli.engines import open_engine
from sparkcli.engines.base import Engine
from sparkcli.engines.openai.connection import retry_after
from sparkcli.errors import SparkError, UsageError
from sparkcli.records import Prompt, Rollout

KEY = "sk-not-to-be-seen-7391"
SETTINGS = ServerConfig(timeout=2.0, retries=3, patience=1.0, concurrency=4)
CONFIG = RolloutConfig(samples=3, max_tokens=100)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key from outside, and short waits."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("sparkcli.engines.openai.servers.BACKOFF_SECONDS", 0.02)
    monkeypatch.setattr("sparkcli.engines.openai.servers.RECALL_SECONDS", 0.05)


@pytest.fixture
def server() -> Iterator[Answerer]:
    answerer = Answerer()
    with serving(answerer):
        yield answerer


@contextlib.contextmanager
def opened(*servers: Faulty, model: str = "builtin:tiny-math", **settings: Any) -> Iterator[Engine]:
    config = replace(SETTINGS, base_url=tuple(server.url for server in servers), **settings)
    with contextlib.closing(open_engine(ModelConfig(name=model, engine="openai"), None, config)) as engine:
        yield engine


def prompts(count: int) -> list[Prompt]:
    return [Prompt(id=str(number), prompt=f"{number} + 1 = ?", answer="1") for number in range(count)]


def sampled(*servers: Faulty, count: int = 12, **settings: Any) -> list[list[Rollout]]:
    with opened(*servers, **settings) as engine:
        return list(engine.sample(prompts(count), CONFIG))


def assert_whole(groups: list[list[Rollout]], count: int = 12) -> None:
    """Each prompt once, in order, with all its samples."""
    assert [rollout.error for group in groups for rollout in group if rollout.error] == []
    assert [(r.id, r.sample) for group in groups for r in group] == [
        (str(number), sample) for number in range(count) for sample in range(CONFIG.samples)]


def texts(groups: list[list[Rollout]]) -> list[str]:
    return [rollout.completion for group in groups for rollout in group]


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether a condition came true in time."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return true


# What a plain server gives


def test_text_alone_marked_as_whose_it_is(server: Answerer) -> None:
    groups = sampled(server)
    assert_whole(groups)
    rollout = groups[0][0]
    assert rollout.completion and (rollout.token_ids, rollout.prompt_token_ids, rollout.logprobs) == (None, None, None)
    assert rollout.policy == "openai:scripted" and rollout.sampling is not None
    assert rollout.sampling.engine == "openai/tests"


def test_one_request_a_prompt_and_the_same_seed_gives_the_same_texts(server: Answerer) -> None:
    assert texts(sampled(server)) == texts(sampled(server))
    assert len(server.asked) == 24
    assert {request["n"] for request in server.asked} == {3}
    assert len({request["seed"] for request in server.asked}) == 12


def test_what_a_server_leaves_out_is_asked_for_again(server: Answerer) -> None:
    whole = sampled(server)
    server.choices = 2
    assert sampled(server) == whole


def test_tools_and_variables_of_the_template_are_handed_on(server: Answerer) -> None:
    tools = ({"type": "function", "function": {"name": "add"}},)
    model = ModelConfig(engine="openai", chat_template_kwargs={"enable_thinking": True, "effort": "low"})
    settings = replace(SETTINGS, base_url=(server.url,))
    with contextlib.closing(open_engine(model, None, settings)) as engine:
        prompt = Prompt(id="p", prompt="2 + 3?", tools=tools, chat_template_kwargs={"enable_thinking": False})
        list(engine.sample([prompt], CONFIG))
    [asked] = server.asked
    assert (asked["tools"], asked["tool_choice"]) == (list(tools), "none")
    assert asked["chat_template_kwargs"] == {"enable_thinking": False, "effort": "low"}


@pytest.mark.parametrize(("content", "message"), [
    ([{"role": "user", "content": "2 + 3?"}, {"role": "assistant", "content": "It is"}],
     "prompt 'p': ends with a message of the assistant, to be continued"),
    ("2 + \udc00", "prompt 'p': message 1 (user), character 5: \\udc00 is half of a surrogate pair"),
])
def test_what_such_a_server_cannot_be_asked_is_the_prompts_error(server: Answerer, content: Any, message: str) -> None:
    with opened(server) as engine:
        first, second = engine.sample([Prompt(id="p", prompt=content), *prompts(1)], CONFIG)
    assert first[0].error is not None and first[0].error.startswith(message)
    assert len(second) == 3 and len(server.asked) == 1


def test_greedy_samples_are_asked_for_once(server: Answerer) -> None:
    with opened(server) as engine:
        group = next(engine.sample(prompts(1), replace(CONFIG, temperature=0.0)))
    assert [request["n"] for request in server.asked] == [1]
    assert [rollout.sample for rollout in group] == [0, 1, 2] and len({r.completion for r in group}) == 1


def test_so_many_prompts_are_in_flight_at_each_server(server: Answerer) -> None:
    server.always = faulty.slow(0.02)
    other = Answerer()
    other.always = faulty.slow(0.02)
    with serving(other):
        assert_whole(sampled(server, other, count=40, concurrency=3), 40)
    assert (server.most_open, other.most_open) == (3, 3)


def test_groups_come_as_they_are_finished_in_order(server: Answerer) -> None:
    server.always = faulty.only("0 + 1 = ?", faulty.slow(0.3))
    with opened(server) as engine:
        stream = engine.sample(iter(prompts(6)), CONFIG)
        assert next(stream)[0].id == "0"
        assert server.finished == 6
        assert [group[0].id for group in stream] == ["1", "2", "3", "4", "5"]


def test_input_is_read_as_places_come_free(server: Answerer) -> None:
    taken = itertools.count()

    def endless() -> Iterator[Prompt]:
        for number in taken:
            yield Prompt(id=str(number), prompt=f"{number}?")

    with opened(server, concurrency=2) as engine:
        stream = engine.sample(endless(), CONFIG)
        assert [next(stream)[0].id for _ in range(3)] == ["0", "1", "2"]
    assert next(taken) <= 2 * 3 + 4


def test_dropping_the_groups_cancels_the_requests(server: Answerer) -> None:
    async def last_or_never(request: web.Request, reply: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
        """Prompts are taken in until a group is ready: that is after all have been asked for."""
        while "wait" in await request.text() or server.open < 4:
            await asyncio.sleep(0.01)
        return await reply()

    server.always = last_or_never
    with opened(server) as engine:
        stream = engine.sample([Prompt(id=word, prompt=word) for word in ("go", "wait 1", "wait 2", "wait 3")], CONFIG)
        assert next(stream)[0].id == "go"
        assert server.open == 3
        stream.close()
        assert until(lambda: server.open == 0) and server.cancelled == 3
        server.always = None
        assert_whole(list(engine.sample(prompts(4), CONFIG)), 4)


# Faults that another try mends

FAULTS = {
    "too many requests": faulty.status(429), "internal error": faulty.status(500), "bad gateway": faulty.status(502),
    "conflict": faulty.status(409), "hang": faulty.hang, "truncated": faulty.truncated, "closed": faulty.closed,
    "not JSON": faulty.says(b"{'choices': []}"), "half JSON": faulty.says(b'{"choices": [{"mess'),
    "empty": faulty.says(b""), "another object": faulty.says(b"[1, 2]"),
    "no choices": faulty.changed(lambda reply: reply.pop("choices") and None),
    "empty choices": faulty.changed(lambda reply: reply["choices"].clear()),
    "too many choices": faulty.changed(lambda reply: reply["choices"].extend(reply["choices"])),
    "no message": faulty.changed(lambda reply: reply["choices"][1].pop("message") and None),
    "no text": faulty.changed(lambda reply: reply["choices"][1]["message"].update(content=None)),
    "no reason": faulty.changed(lambda reply: reply["choices"][2].pop("finish_reason") and None),
    "aborted": faulty.changed(lambda reply: reply["choices"][0].update(finish_reason="abort")),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_costs_another_try(server: Answerer, fault: faulty.Fault) -> None:
    whole = sampled(server)
    server.asked.clear()
    server.faults = [fault, fault]
    assert sampled(server, timeout=1.0) == whole
    assert len(server.asked) == 14


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_that_stays_is_the_prompts_error_in_bounded_time(server: Answerer, fault: faulty.Fault) -> None:
    server.always = fault
    start = time.monotonic()
    groups = sampled(server, timeout=0.5, retries=2, count=5)
    assert time.monotonic() - start < 15
    assert [[(r.id, r.finish_reason, r.samples) for r in group] for group in groups] == [
        [(str(number), "error", 1)] for number in range(5)]
    assert all(server.url in (group[0].error or "") and "asked 3 times" in (group[0].error or "") for group in groups)
    assert len(server.asked) == 15


def test_one_prompt_that_fails_does_not_lose_the_others(server: Answerer) -> None:
    whole = sampled(server)
    server.always = None
    server.faults = [faulty.status(400, f"too long,\n see {KEY}")]
    groups = sampled(server, concurrency=1)
    assert groups[1:] == whole[1:]
    assert groups[0][0].error == f"prompt '0': {server.url}: HTTP 400: too long, see {KEY}"
    assert len(server.asked) == 24


@pytest.mark.parametrize("reason", ["content_filter", "tool_calls"])
def test_a_completion_that_is_none_is_the_prompts_error(server: Answerer, reason: str) -> None:
    server.faults = [faulty.changed(lambda reply: reply["choices"][1].update(finish_reason=reason))]
    groups = sampled(server, count=1)
    assert groups[0][0].error == f"prompt '0': the server ended a completion by {reason}"
    assert len(server.asked) == 1


def test_a_server_that_calls_the_limit_otherwise_is_understood(server: Answerer) -> None:
    whole = sampled(server)

    async def strict(request: web.Request, reply: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
        if "max_tokens" in await request.json():
            return await faulty.status(400, "'max_tokens' is unknown; use 'max_completion_tokens'")(request, reply)
        return await reply()

    server.always = strict
    assert sampled(server) == whole


def test_retry_after_is_kept_to(server: Answerer) -> None:
    server.faults = [faulty.status(429, retry_after=0.5)]
    start = time.monotonic()
    assert_whole(sampled(server))
    assert 0.5 <= time.monotonic() - start < 5


def test_another_server_takes_what_one_has_no_time_for(server: Answerer) -> None:
    busy = Answerer()
    busy.always = faulty.status(429, retry_after=30.0)
    with serving(busy):
        start = time.monotonic()
        assert_whole(sampled(server, busy))
    assert time.monotonic() - start < 15 and len(busy.asked) <= 4


def test_a_date_to_come_back_at() -> None:
    later = datetime.now(UTC) + timedelta(seconds=100)
    assert retry_after(format_datetime(later, usegmt=True)) == pytest.approx(100, abs=2)
    assert [retry_after(header) for header in (None, "7", "-1", "soon")] == [None, 7.0, 0.0, None]


# Servers that go away


@pytest.fixture
def pair() -> Iterator[tuple[Running, Answerer, Answerer]]:
    one, other = Answerer(), Answerer()
    with serving(one, other) as running:
        yield running, one, other


def test_a_dead_servers_prompts_go_to_the_others(pair: tuple[Running, Answerer, Answerer]) -> None:
    running, one, other = pair
    whole = sampled(other, count=60)
    one.always = other.always = faulty.slow(0.01)
    with opened(one, other) as engine:
        stream = engine.sample(prompts(60), CONFIG)
        groups = [next(stream) for _ in range(10)]
        running.stop(one)
        groups += stream
    assert groups == whole


def test_a_server_that_comes_back_gets_prompts_again(
    pair: tuple[Running, Answerer, Answerer], caplog: pytest.LogCaptureFixture
) -> None:
    running, one, other = pair
    one.always = other.always = faulty.slow(0.01)
    with opened(one, other) as engine:
        running.stop(one)
        assert_whole(list(engine.sample(prompts(12), CONFIG)))
        running.start(one)
        one.asked.clear()
        assert_whole(list(engine.sample(prompts(200), CONFIG)), 200)
    assert len(one.asked) > 20
    assert [record.getMessage() for record in caplog.records] == [
        f"{one.url} is left out until it answers: cannot connect (Connection refused)", f"{one.url} answers again"]


def test_the_only_server_is_waited_for(server: Answerer) -> None:
    whole = sampled(server)
    with opened(server, patience=20.0) as engine:
        stream = engine.sample(prompts(12), CONFIG)
        server.is_deaf = True
        timer = threading.Timer(0.5, lambda: setattr(server, "is_deaf", False))
        timer.start()
        assert list(stream) == whole
        timer.join()


def test_without_any_server_the_command_ends_and_keeps_what_is_finished(server: Answerer) -> None:
    with serving(gone := Answerer()) as running, opened(gone, concurrency=1) as engine:
        stream = engine.sample(prompts(12), CONFIG)
        groups = [next(stream), next(stream)]
        running.stop(gone)
        start = time.monotonic()
        with pytest.raises(SparkError, match=r"no server has answered for 1 s .*--resume") as caught:
            groups.extend(stream)
        assert caught.value.exit_code == 1 and 0.9 < time.monotonic() - start < 10
    assert [group[0].id for group in groups] == [str(number) for number in range(len(groups))]
    assert groups + sampled(server)[len(groups):] == sampled(server)


def test_servers_that_were_away_at_the_start_join_later(pair: tuple[Running, Answerer, Answerer]) -> None:
    running, one, other = pair
    running.stop(one)
    other.always = faulty.slow(0.02)
    with opened(one, other) as engine:
        stream = engine.sample(prompts(100), CONFIG)
        groups = [next(stream)]
        running.start(one)
        groups += stream
    assert_whole(groups, 100)
    assert len(one.asked) > 10


# Opening


def test_no_server_at_the_start_is_one_line(server: Answerer) -> None:
    with serving(gone := Answerer()) as running:
        running.stop(gone)
        with pytest.raises(SparkError, match=r"no server answers: .*cannot connect .*sparkcli serve") as caught:
            sampled(gone)
    assert caught.value.exit_code == 1


def test_trouble_at_the_start_costs_another_try(server: Answerer) -> None:
    server.sick = 2
    assert_whole(sampled(server))
    assert server.paths[:3] == ["/v1/models"] * 3


def test_a_key_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(locked := Answerer(key=KEY)):
        (tmp_path / "key").write_text(f"{KEY}\n")
        assert_whole(sampled(locked, api_key_file=str(tmp_path / "key")))
        monkeypatch.setenv("MY_KEY", KEY)
        assert_whole(sampled(locked, api_key_env="MY_KEY"))


def test_a_key_that_is_not_taken_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(locked := Answerer(key="another")):
        with pytest.raises(UsageError, match=r"asks for an API key .* OPENAI_API_KEY") as missing:
            sampled(locked)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with pytest.raises(UsageError, match="does not take the API key in environment variable OPENAI_API_KEY") as env:
            sampled(locked)
        (tmp_path / "key").write_text(KEY)
        with pytest.raises(UsageError, match=r"does not take the API key in file .*key") as file:
            sampled(locked, api_key_file=str(tmp_path / "key"))
    told = [str(error.value) for error in (missing, env, file)] + [record.getMessage() for record in caplog.records]
    assert not any(KEY in line for line in told)


def test_no_message_repeats_the_key(server: Answerer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.always = faulty.status(400, f"you sent Bearer {KEY}")
    assert "you sent Bearer …" in (sampled(server, count=1)[0][0].error or "")


@pytest.mark.parametrize(("content", "message"), [
    (None, "cannot be read"), ("", "is empty"), ("a key\nof two lines", "cannot be an API key")])
def test_a_file_that_holds_no_key(server: Answerer, tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    with pytest.raises(UsageError, match=message):
        sampled(server, api_key_file=str(tmp_path / "key"))


def test_the_model_by_name_or_the_only_one(server: Answerer) -> None:
    assert_whole(sampled(server, model="whatever"))
    with pytest.raises(UsageError, match="does not serve 'other'; it serves scripted; choose with --served-name"):
        sampled(server, served_name="other")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host/v1", "http://", "http://host:port/v1", ""])
def test_what_is_no_url_of_a_server(url: str) -> None:
    with pytest.raises(UsageError, match="expected the URL of a server"):
        open_engine(ModelConfig(engine="openai"), None, replace(SETTINGS, base_url=(url,)))


def test_a_password_in_the_url_is_not_repeated() -> None:
    with pytest.raises(UsageError, match="--api-key-file") as caught:
        open_engine(ModelConfig(engine="openai"), None, replace(SETTINGS, base_url=(f"http://me:{KEY}@host/v1",)))
    assert KEY not in str(caught.value)


def test_a_url_may_leave_v1_out(server: Answerer) -> None:
    server.url = server.url.removesuffix("/v1")
    assert_whole(sampled(server))
    assert set(server.paths) == {"/v1/models", "/v1/chat/completions"}


def test_policies_need_a_vllm_server(server: Answerer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no vLLM server"):
        sampled(server, sync_adapters=True)
    with opened(server) as engine, pytest.raises(UsageError, match="is no vLLM server"):
        engine.load_policy(tmp_path)
