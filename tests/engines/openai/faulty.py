"""Servers with faults, on free ports: a plain OpenAI-compatible one that says what the scripted engine says, and a
proxy before any other. Both count what they are asked, and misbehave as they are told.

    with serving(Answerer()) as server:
        server.faults.append(fault.status(429, retry_after=0.2))
"""

import asyncio
import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import aiohttp
from aiohttp import web

from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines.scripted import ScriptedEngine
from sparkcli.records import Prompt

TURNS = 5
"""Of a loop, at least as many as asyncio takes from a connection that comes in to one that its server knows."""

PATIENCE = 0.01
"""Seconds for requests in progress when a server is closed. To aiohttp 0 means for ever."""

Fault = Callable[[web.Request, Callable[[], Awaitable[web.Response]]], Awaitable[web.StreamResponse]]
"""Replies to a request; the second argument is what a whole server would reply."""


class Faulty:
    """A server whose completions go wrong: the first of `faults` takes the next request, `always` all others."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self.asked: list[dict[str, Any]] = []
        self.finished = 0
        self.cancelled = 0
        self.open = 0
        self.most_open = 0
        self.is_deaf = False
        """Whether it hangs up on whoever asks, health checks too."""
        self.sick = 0
        """Number of requests for anything but completions that fail first."""
        self.paths: list[str] = []
        self.url = ""
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        if self.is_deaf:
            return hung_up(request)
        if not request.path.endswith("completions"):
            self.sick -= 1
            return await self.whole(request) if self.sick < 0 else web.Response(status=500)
        self.asked.append(await request.json())
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            fault = self.faults.pop(0) if self.faults else self.always
            reply = await (fault(request, lambda: self.whole(request)) if fault else self.whole(request))
            self.finished += 1
            return reply
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.open -= 1

    async def whole(self, request: web.Request) -> web.Response:
        """The reply of a server without faults."""
        raise NotImplementedError


class Answerer(Faulty):
    """A plain OpenAI-compatible server."""

    def __init__(self, *, model: str = "scripted", key: str | None = None, choices: int | None = None) -> None:
        """`choices`: at most so many per reply, as of servers that ignore `n`."""
        super().__init__()
        self.model, self.key, self.choices = model, key, choices
        self.engine = ScriptedEngine(ModelConfig(name=model))

    async def whole(self, request: web.Request) -> web.Response:
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            said = f"wrong key: {request.headers.get('Authorization')}"
            return web.json_response({"error": {"message": said}}, status=401)
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": self.model, "object": "model", "owned_by": "tests"}]})
        if not request.path.endswith("/chat/completions"):
            return web.json_response({"error": {"message": "Not Found"}}, status=404)
        body = await request.json()
        if body["model"] != self.model:
            return web.json_response({"error": {"message": f"no model {body['model']!r}"}}, status=404)
        return web.json_response({"object": "chat.completion", "choices": self.completions(body)})

    def completions(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """As many as are asked for; each depends on the messages and its seed, counted on from the request's."""
        found = []
        for number in range(min(body["n"], self.choices or body["n"])):
            prompt = Prompt(id="", prompt=body["messages"], answer="1")
            limit = body.get("max_tokens") or body["max_completion_tokens"]
            config = RolloutConfig(samples=1, seed=body.get("seed", 0) + number, max_tokens=limit,
                                   temperature=body["temperature"])
            rollout = next(self.engine.sample([prompt], config))[0]
            found.append({"index": number, "message": {"role": "assistant", "content": rollout.completion},
                          "finish_reason": rollout.finish_reason})
        return found


class Proxy(Faulty):
    """Hands everything on to another server."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self.origin = base_url.removesuffix("/v1")

    async def whole(self, request: web.Request) -> web.Response:
        async with aiohttp.ClientSession() as session, session.request(
                request.method, self.origin + request.path_qs, data=await request.read(),
                headers={"Content-Type": "application/json"}) as reply:
            return web.Response(body=await reply.read(), status=reply.status,
                                headers={"Content-Type": reply.headers.get("Content-Type", "text/plain")})


def status(code: int, said: str = "not now", *, retry_after: float | None = None) -> Fault:
    async def fault(request: web.Request, whole: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return web.json_response({"error": {"message": said}}, status=code, headers=headers)

    return fault


def slow(seconds: float) -> Fault:
    async def fault(request: web.Request, whole: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await whole()

    return fault


hang = slow(3600.0)


def only(text: str, fault: Fault) -> Fault:
    """The fault for requests that hold this text; others are replied to."""
    async def chosen(request: web.Request, whole: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
        return await (fault(request, whole) if text in await request.text() else whole())

    return chosen


def every(number: int, *faults: Fault) -> Fault:
    """One of the faults in turn at every so many requests; the others are replied to."""
    turns = itertools.cycle([*[None] * (number - 1), True])
    following = itertools.cycle(faults)

    async def chosen(request: web.Request, whole: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
        return await (next(following)(request, whole) if next(turns) else whole())

    return chosen


def says(body: bytes) -> Fault:
    async def fault(request: web.Request, whole: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    return fault


def changed(change: Callable[[dict[str, Any]], Any]) -> Fault:
    """The whole reply, changed in place or replaced."""
    async def fault(request: web.Request, whole: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
        reply = await whole()
        assert isinstance(reply.body, bytes)
        value = json.loads(reply.body)
        other = change(value)
        return web.json_response(value if other is None else other, status=reply.status)

    return fault


async def truncated(request: web.Request, whole: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
    """Half of a reply that was announced whole."""
    reply = await whole()
    assert isinstance(reply.body, bytes)
    stream = web.StreamResponse(headers={"Content-Length": str(len(reply.body)), "Content-Type": "application/json"})
    await stream.prepare(request)
    await stream.write(reply.body[:len(reply.body) // 2])
    return hung_up(request, stream)


async def closed(request: web.Request, whole: Callable[[], Awaitable[web.Response]]) -> web.StreamResponse:
    """No reply: the connection is closed."""
    return hung_up(request)


def hung_up(request: web.Request, reply: web.StreamResponse | None = None) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return reply or web.Response()


class Running:
    """Faulty servers in a thread of their own, each at its own port. They can go away and come back there."""

    def __init__(self, servers: Sequence[Faulty]) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.runners: dict[int, tuple[web.AppRunner, socket.socket]] = {}
        for server in servers:
            self.start(server)

    def start(self, server: Faulty) -> None:
        asyncio.run_coroutine_threadsafe(self._start(server), self.loop).result(10)

    def stop(self, server: Faulty) -> None:
        """As if it were killed: nothing listens, and open connections end."""
        asyncio.run_coroutine_threadsafe(ended(*self.runners.pop(server.port)), self.loop).result(10)

    def close(self) -> None:
        for running in self.runners.values():
            asyncio.run_coroutine_threadsafe(ended(*running), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    async def _start(self, server: Faulty) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=PATIENCE, handler_cancellation=True)
        await runner.setup()
        listening = socket.create_server(("127.0.0.1", server.port))
        await web.SockSite(runner, listening).start()
        server.port = runner.addresses[0][1]
        server.url = f"http://127.0.0.1:{server.port}/v1"
        self.runners[server.port] = runner, listening


async def ended(runner: web.AppRunner, listening: socket.socket) -> None:
    """Cleans up, once those are connections that have just come in: asyncio forgets their sockets otherwise."""
    asyncio.get_running_loop().remove_reader(listening)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    await runner.cleanup()


@contextlib.contextmanager
def serving(*servers: Faulty) -> Iterator[Running]:
    """The servers, running; their URLs are set."""
    running = Running(servers)
    try:
        yield running
    finally:
        running.close()
