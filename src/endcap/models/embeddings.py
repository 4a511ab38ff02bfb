"""Embeddings: vectors of texts from a service that speaks the ``/v1/embeddings`` form of OpenAI.

Off unless an operator names an address. What leaves the machine are the texts of the catalogue, to that address and to
no other: no redirect is followed, no proxy of the environment is used. The name is resolved once, every address it has
is checked, and the connection goes to a checked one, so that a name cannot change its mind in between. Plain HTTP and
addresses of the own machine go together; private networks are let in on demand only.

Limits: time to connect, time for a whole answer, bytes of an answer, length of a text. What may go better next time
(429, 500, 502, 503, 504, a broken connection) is tried again after a growing pause, or after what Retry-After says.

Not for: requests of shoppers. This is batch work; vectors are stored and served from here.
"""

from __future__ import annotations

import http.client
import ipaddress
import random
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
import numpy as np

from endcap.errors import ConfigError, EndcapError, InvalidInput
from endcap.protocols import Modality
from endcap.types import F4, Refusal

CONNECT_S, ANSWER_S = 10.0, 60.0
TRIES = 5
PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0  # before the second try; doubled each time
MOST_ANSWER = 64 << 20  # bytes
MOST_CHARS = 8_000  # of a text
AGAIN = frozenset({429, 500, 502, 503, 504})


class EmbeddingFailed(EndcapError):
    """The service did not give what was asked for."""

    code = "embedding_failed"


class _TryAgain(Exception):
    """It may go better next time."""

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Embedding(msgspec.Struct, frozen=True):
    """One vector of an answer."""

    embedding: list[float]
    index: int


class Embeddings(msgspec.Struct, frozen=True):
    """An answer."""

    data: list[Embedding]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect to: an address that was checked."""

    host: str
    address: str
    port: int
    secure: bool
    path: str


def placed(url: str, allow_private: bool) -> Place:
    """The checked place of a URL. ``ConfigError`` for one that texts may not be sent to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as wrong:
        raise ConfigError(f"the address {url[:120]!r} cannot be read: {wrong}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ConfigError(
            f"the address {url[:120]!r} cannot be used; expected https://HOST/v1/embeddings, the key not in it"
        )
    secure = parts.scheme == "https"
    port = port or (443 if secure else 80)
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as wrong:
        raise ConfigError(f"the host {parts.hostname!r} cannot be found: {wrong}; check the address") from None
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        check_address(parts.hostname, address, secure, allow_private)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(parts.hostname, addresses[0], port, secure, path)


def check_address(host: str, address: str, secure: bool, allow_private: bool) -> None:
    """``ConfigError`` unless texts may go to this address: public by https, the own machine, private on demand."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return
    if not secure:
        raise ConfigError(f"{host} is not this machine; texts go there by https only")
    if not ip.is_global and not (allow_private and ip.is_private and not ip.is_link_local and not ip.is_unspecified):
        how = "say --allow-private if that is meant" if ip.is_private and not ip.is_link_local else "use another host"
        raise ConfigError(f"{host} has the address {ip}, which is not a public one; {how}")


class EmbeddingClient:
    """Turns texts into unit vectors by a service. ``id`` and ``version`` are stored with every vector."""

    modality: Modality = "text"

    def __init__(
        self, url: str, model: str, *, version: str = "1", key: str | None = None, allow_private: bool = False,
        connect_s: float = CONNECT_S, answer_s: float = ANSWER_S, tries: int = TRIES, most_bytes: int = MOST_ANSWER,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        """``ConfigError`` when the address may not be used."""
        self.id, self.version, self.dim = model, version, 0  # dim: known from the first answer on
        self._place = placed(url, allow_private)
        self._key = key
        self._connect_s, self._answer_s, self._tries, self._most = connect_s, answer_s, tries, most_bytes
        self._pause = pause

    def encode(self, batch: Sequence[bytes]) -> tuple[F4, list[Refusal]]:
        """Vectors float32 [n, dim] of UTF-8 texts, none refused. ``EmbeddingFailed`` when it did not work out."""
        texts = [text.decode("utf-8", "replace")[:MOST_CHARS] for text in batch]
        if not texts or not all(text.strip() for text in texts):
            raise InvalidInput("a text is empty; expected some words in each")
        body = msgspec.json.encode({"model": self.id, "input": texts, "encoding_format": "float"})
        wait = PAUSE_S
        for tried in range(1, self._tries + 1):
            try:
                return self._vectors(self._ask(body), len(texts)), []
            except _TryAgain as wrong:
                if tried == self._tries:
                    raise EmbeddingFailed(f"{self._place.host}: {wrong}; gave up after {tried} tries") from None
                self._pause(min(max(wrong.after_s, wait * random.uniform(0.5, 1.0)), LONGEST_PAUSE_S))
                wait *= 2.0
        raise AssertionError("not reached")

    def _vectors(self, answer: bytes, n: int) -> F4:
        try:
            data = msgspec.json.decode(answer, type=Embeddings).data
        except msgspec.DecodeError as wrong:
            raise EmbeddingFailed(f"{self._place.host} answered something else than embeddings: {wrong}") from None
        if sorted(one.index for one in data) != list(range(n)):
            raise EmbeddingFailed(f"{self._place.host} answered {len(data)} vectors for {n} texts, or in no order")
        rows = [one.embedding for one in sorted(data, key=lambda one: one.index)]
        dims = {len(row) for row in rows} | ({self.dim} if self.dim else set())
        if len(dims) != 1 or 0 in dims:
            raise EmbeddingFailed(f"{self._place.host} answered vectors of different lengths: {sorted(dims)}")
        vectors = np.array(rows, np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise EmbeddingFailed(f"{self._place.host} answered a vector of zeros, or with NaN")
        self.dim = vectors.shape[1]
        units: F4 = (vectors / lengths).astype(np.float32)
        return units

    def _ask(self, body: bytes) -> bytes:
        place = self._place
        connection = Checked(place, self._connect_s)
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "endcap"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        deadline = time.monotonic() + self._answer_s
        try:
            connection.connect()
            sock = connection.sock
            sock.settimeout(self._answer_s)
            connection.request("POST", place.path, body, headers)
            answer = connection.getresponse()
            try:
                content = self._read(answer, sock, deadline)
            finally:
                answer.close()
        except (OSError, http.client.HTTPException) as broken:
            if isinstance(broken, ssl.SSLCertVerificationError):
                raise EmbeddingFailed(f"{place.host}: the certificate is not valid: {broken.verify_message}") from None
            raise _TryAgain(f"{type(broken).__name__}: {broken}") from None
        finally:
            connection.close()
        if answer.status in AGAIN:
            raise _TryAgain(f"status {answer.status}", seconds(answer.getheader("retry-after")))
        if 300 <= answer.status < 400:
            raise EmbeddingFailed(f"{place.host} redirects elsewhere (status {answer.status}); name the final address")
        if answer.status != 200:
            said = content[:300].decode("utf-8", "replace")
            raise EmbeddingFailed(f"{place.host} refused (status {answer.status}): {said}")
        return content

    def _read(self, answer: http.client.HTTPResponse, sock: socket.socket, deadline: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no whole answer within {self._answer_s:g} s")
            if sock.fileno() >= 0:
                sock.settimeout(left)
            part = answer.read1(1 << 16)
            if not part:
                return b"".join(parts)
            size += len(part)
            if size > self._most:
                raise EmbeddingFailed(f"{self._place.host} answers more than {self._most} bytes; use a smaller --batch")
            parts.append(part)


class Checked(http.client.HTTPConnection):
    """A connection to the address that was checked, whatever the name says by now."""

    def __init__(self, place: Place, timeout: float) -> None:
        super().__init__(place.host, place.port, timeout=timeout)
        self._to = place
        self.sock: socket.socket

    def connect(self) -> None:
        """Connect, and by https make sure that the other side is who the name says."""
        if getattr(self, "sock", None) is not None:
            return
        self.sock = socket.create_connection((self._to.address, self._to.port), self.timeout)
        if self._to.secure:
            plain = self.sock
            try:
                self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self._to.host)
            except OSError:
                plain.close()
                raise


def seconds(header: str | None) -> float:
    """Retry-After in seconds; 0 when there is none or it is a date."""
    try:
        return max(0.0, float(header or 0.0))
    except ValueError:
        return 0.0
