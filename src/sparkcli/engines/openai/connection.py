"""What is asked of one OpenAI-compatible server over HTTP, and the ways in which it fails.

    TroubleError   no reply, or none that can be used: another try, or another server, may do
    RefusedError   the server understood and said no: asking again is of no use
    UsageError   the key is not taken
    UnansweredError   what becomes of a prompt in the end, where no try has helped

No message holds the key: what servers say is cleared of it.
"""

import asyncio
import email.utils
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson

from sparkcli.config import ServerConfig
from sparkcli.errors import SparkError, UsageError
from sparkcli.json_values import to_bytes

CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 2.0
"""Idle connections are closed before servers do it (uvicorn: 5 s), so that none is found dead by a request."""

AGAIN = (408, 409, 425, 429)
AWAY = (502, 503, 504)
"""What stands before a server says this when the server itself is gone."""


class TroubleError(SparkError):
    """No reply, or none that can be used.

    Args:
        reason: what happened.
        wait: seconds after which the server wants to be asked again, where it said so.
        suspect: whether the server itself may be gone.
    """

    def __init__(self, reason: str, *, wait: float | None = None, suspect: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.suspect = suspect


class AbsentError(TroubleError):
    """Nobody is there: nothing listens, or nothing is replied in time."""


class RefusedError(SparkError):
    """The server's own no to this request, with its HTTP status."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"HTTP {status}: {said}")
        self.status = status
        self.said = said


class UnansweredError(SparkError):
    """A prompt gets no completions; the message says which server said what."""


@dataclass(frozen=True)
class Key:
    """An API key, and where it came from."""

    value: str = field(repr=False)
    origin: str


def read_key(config: ServerConfig) -> Key | None:
    """The key in the file that the settings name, else in the environment variable; None where there is none.

    Raises:
        UsageError: the file cannot be read, or what is found cannot be a key.
    """
    if config.api_key_file is None:
        value, origin = os.environ.get(config.api_key_env, ""), f"environment variable {config.api_key_env}"
    else:
        value, origin = _content(Path(config.api_key_file).expanduser()), f"file {config.api_key_file}"
    value = value.strip()
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise UsageError(f"{origin}: what it holds cannot be an API key (spaces, line breaks or other letters in it)")
    return Key(value, origin) if value else None


def _content(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--api-key-file {path}: cannot be read ({getattr(error, 'strerror', 'not text')})") from None
    if not text.strip():
        raise UsageError(f"--api-key-file {path}: is empty; it should hold the API key alone")
    return text


def new_session() -> aiohttp.ClientSession:
    """Connections without a limit of their own: the pool of servers counts."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS))


class Connection:
    """One server, by its base URL."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession, config: ServerConfig, key: Key | None) -> None:
        """Raises UsageError unless the URL is one of a server."""
        url = parse_url(base_url)
        self.name = self._api = url.geturl()
        self._root = self._api.removesuffix("/v1")
        self._proxy = None if proxy_bypass(url.netloc) else getproxies().get(url.scheme)
        self._session = session
        self._timeout = config.timeout
        self._key = key
        self._how_to_give_a_key = f"set the environment variable {config.api_key_env}, or give --api-key-file"

    async def read(self, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """The decoded reply to a GET, or to a POST where there is a body. See `call`."""
        payload = await self.call(path, body, timeout=timeout)
        try:
            return orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise TroubleError(f"a reply that is not JSON: {self._clear(payload.decode(errors='replace'))!r}") from None

    async def call(self, path: str, body: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> bytes:
        """The body of the reply.

        Args:
            path: `models` is below the base URL; `/version` beside its `/v1`.
            body: is sent as JSON.
            timeout: seconds; None takes the settings'.

        Raises:
            TroubleError: no whole reply in time, or a status that another try may change.
            RefusedError: any other status than success.
            UsageError: the key is missing or not taken.
        """
        url = self._root + path if path.startswith("/") else f"{self._api}/{path}"
        seconds = timeout or self._timeout
        try:
            async with asyncio.timeout(seconds), self._session.request(
                    "GET" if body is None else "POST", url, headers=self._headers(), allow_redirects=False,
                    proxy=self._proxy, data=None if body is None else to_bytes(body)) as reply:
                payload = await reply.read()
        except TimeoutError:
            raise AbsentError(f"no reply within {seconds:g} s", suspect=True) from None
        except aiohttp.ClientConnectorError as error:
            number = error.os_error.errno
            reason = os.strerror(number) if number and number > 0 else str(error.os_error)
            raise AbsentError(f"cannot connect ({reason})", suspect=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise TroubleError(_described(error), suspect=True) from None
        if reply.status >= 300:
            raise self._failure(reply.status, reply.headers, payload)
        return payload

    def _headers(self) -> dict[str, str]:
        content = {"Content-Type": "application/json", "Accept": "application/json"}
        return content | ({"Authorization": f"Bearer {self._key.value}"} if self._key else {})

    def _failure(self, status: int, headers: Mapping[str, str], payload: bytes) -> SparkError:
        if status == 401:
            found = f"does not take the API key in {self._key.origin}" if self._key else "asks for an API key"
            return UsageError(f"{self.name} {found} (HTTP 401); {self._how_to_give_a_key}")
        said = self._clear(message_in(payload))
        if status < 400:
            return RefusedError(status, f"redirects to {headers.get('Location')}; give that address as --base-url")
        if status in AGAIN or status >= 500:
            wait = retry_after(headers.get("Retry-After"))
            return TroubleError(f"HTTP {status}: {said}", wait=wait, suspect=status in AWAY and wait is None)
        return RefusedError(status, said)

    def _clear(self, text: str) -> str:
        """One line without the key."""
        line = " ".join(text.split())
        return (line.replace(self._key.value, "…") if self._key else line)[:300]


def parse_url(base_url: str) -> SplitResult:
    """The URL of a server's API; `/v1` where it names no path.

    Raises:
        UsageError: it is not the URL of a server.
    """
    try:
        url = urlsplit(base_url.rstrip("/"))
        is_one = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number
        is_one = False
    if not is_one:
        raise UsageError(f"--base-url {base_url!r}: expected the URL of a server, e.g. http://127.0.0.1:8000/v1")
    if "@" in url.netloc:
        raise UsageError(f"--base-url with a user or password for {url.hostname}: would be seen; give an API key in an "
                         "environment variable or with --api-key-file")
    return url._replace(path=url.path or "/v1", query="", fragment="")


def message_in(payload: bytes) -> str:
    """What an error reply says: OpenAI's form, the older one of vLLM, FastAPI's, else the text itself."""
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode(errors="replace") or "no reason given"
    error = value.get("error", value) if isinstance(value, dict) else value
    found = (error.get("message") or error.get("detail")) if isinstance(error, dict) else error
    return found if isinstance(found, str) else orjson.dumps(found if found else value).decode()


def retry_after(header: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number, or a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        try:
            return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
        except ValueError:
            return None


def _described(error: Exception) -> str:
    """What went wrong with a connection, in a few words."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the reply was cut short"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return "the connection was closed"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
