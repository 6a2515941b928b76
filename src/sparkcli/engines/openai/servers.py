"""Several servers as one: who gets the next prompt, who is asked again, who is left out, and when to give up.

A server that may be gone gets no prompts until it has answered again (`admit`); that is tried at once and then from
time to time. A prompt that met trouble goes to another server if there is one, else it waits a while, longer each
time. All waiting is bounded.
"""

import asyncio
import itertools
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sparkcli.config import ServerConfig
from sparkcli.engines.openai.connection import Connection, RefusedError, TroubleError, UnansweredError
from sparkcli.engines.openai.greeting import Facts
from sparkcli.errors import SparkError, UsageError

log = logging.getLogger(__name__)
T = TypeVar("T")

BACKOFF_SECONDS, LONGEST_BACKOFF = 0.5, 30.0
RECALL_SECONDS, LONGEST_RECALL = 0.2, 5.0
LOOK_SECONDS = 1.0
"""A prompt that waits for a server looks around at least this often."""


@dataclass(eq=False)
class Server:
    """One server, what it said of itself, and how it is doing."""

    connection: Connection
    facts: Facts | None = None
    """None until it has answered."""
    target: str = ""
    """The name under which it serves what is to be sampled."""
    weights: str | None = None
    """Fingerprint of full weights that were loaded into it; None: those it started with; empty: not known."""
    tells_weights: bool = True
    """Whether it says where its weights are from, as far as it has been asked."""
    reads_images: bool = False
    """Whether its model does."""
    adapters: set[str] = field(default_factory=set)
    """Names of adapters that were loaded into it from here."""
    is_up: bool = True
    absent_since: float | None = None
    """When it went, of a server that did not answer when it was asked again."""
    in_flight: int = 0
    paused_until: float = 0.0

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.connection.name


class Pool:
    """Servers that share the work."""

    def __init__(self, servers: Sequence[Server], config: ServerConfig,
                 admit: Callable[[Server], Awaitable[None]]) -> None:
        """`admit` asks a server who it is and makes it ready; its errors say why it cannot have prompts."""
        self.servers = servers
        self._config = config
        self._admit = admit
        self._queue: deque[asyncio.Future[None]] = deque()
        self._recalls: set[asyncio.Task[None]] = set()

    async def ask(self, question: Callable[[Server], Awaitable[T]]) -> T:
        """The answer of some server.

        Raises:
            UnansweredError: there was trouble with each try.
            SparkError: no server has answered for as long as the settings' patience.
        """
        last: Server | None = None
        for attempt in itertools.count(1):
            server = last = await self._take(avoid=last)
            try:
                return await question(server)
            except TroubleError as trouble:
                self.blame(server, trouble)
                if attempt > self._config.retries:
                    tries = f" (asked {attempt} times)" if attempt > 1 else ""
                    raise UnansweredError(f"{server.name}: {trouble}{tries}") from None
            finally:
                server.in_flight -= 1
                self._wake()
            await self._back_off(server, attempt)
        raise AssertionError("unreachable")

    def blame(self, server: Server, trouble: TroubleError) -> None:
        """Remembers what a server did: it rests as long as it asked for, or is out until it answers."""
        if trouble.wait is not None:
            wait = min(trouble.wait, self._config.timeout)
            server.paused_until = max(server.paused_until, self._now() + wait)
        if trouble.suspect and server.is_up:
            server.is_up = False
            if server.weights is not None:
                server.weights = ""
            recall = asyncio.get_running_loop().create_task(self._recall(server, self._now()))
            self._recalls.add(recall)
            recall.add_done_callback(self._recalls.discard)

    async def _take(self, avoid: Server | None) -> Server:
        """The least busy server that can have a prompt, one more in flight there."""
        first = True
        while True:
            up = [server for server in self.servers if server.is_up]
            free = [server for server in up
                    if server.in_flight < self._config.concurrency and server.paused_until <= self._now()]
            if free:
                server = min(free, key=lambda server: (server is avoid, server.in_flight))
                server.in_flight += 1
                return server
            if not up:
                self._give_up_in_time()
            await self._turn(self._next_look(up), first=first)
            first = False

    def _next_look(self, up: Sequence[Server]) -> float:
        pauses = [server.paused_until - self._now() for server in up if server.paused_until > self._now()]
        return min([LOOK_SECONDS, *pauses])

    def _give_up_in_time(self) -> None:
        times = [server.absent_since for server in self.servers if server.absent_since is not None]
        if len(times) == len(self.servers) and self._now() - max(times) >= self._config.patience:
            names = ", ".join(server.name for server in self.servers)
            raise SparkError(f"no server has answered for {self._config.patience:g} s ({names}); start one again and "
                             "go on with --resume, or wait longer with --patience")

    async def _turn(self, seconds: float, *, first: bool) -> None:
        """Waits in line, the earliest prompt in front, until a place is free or it is time to look."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._queue.append if first else self._queue.appendleft)(turn)
        try:
            await asyncio.wait([turn], timeout=seconds)
        except asyncio.CancelledError:
            if turn.done():
                self._wake()
            raise
        finally:
            if not turn.done():
                self._queue.remove(turn)

    def _wake(self, count: int = 1) -> None:
        for _ in range(min(count, len(self._queue))):
            self._queue.popleft().set_result(None)

    async def _back_off(self, server: Server, attempt: int) -> None:
        """Waits before the next try, unless another server can have it."""
        if any(other.is_up for other in self.servers if other is not server):
            return
        if server.is_up and server.paused_until <= self._now():
            await asyncio.sleep(backoff(attempt))

    async def _recall(self, server: Server, since: float) -> None:
        """Asks a server until it answers, and takes it back."""
        for attempt in itertools.count():
            try:
                await self._admit(server)
                break
            except (TroubleError, RefusedError, UsageError) as error:
                if attempt == 0:
                    log.warning("%s is left out until it answers: %s", server.name, error)
                    server.absent_since = since
            await asyncio.sleep(min(LONGEST_RECALL, RECALL_SECONDS * 2**min(attempt, 10)))
        if server.absent_since is not None:
            log.warning("%s answers again", server.name)
        server.is_up, server.absent_since = True, None
        self._wake(self._config.concurrency)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def backoff(attempt: int) -> float:
    """Seconds until the next try after so many: twice as long each time, and never for all at the same moment."""
    longest = min(LONGEST_BACKOFF, BACKOFF_SECONDS * 2 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)
