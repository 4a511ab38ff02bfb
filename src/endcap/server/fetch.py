"""Getting a file from a web server without trusting it: addresses checked, time and size bounded, only what is new.

The name is resolved once and the connection goes to the address that was checked, so a name that changes its mind
between the check and the connection (DNS rebinding) leads nowhere. Redirects are followed up to ``HOPS`` times, each
checked anew. Compressed bodies are unpacked while they arrive, and the limit holds for what comes out.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import socket
import ssl
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from endcap.errors import InvalidInput

HOPS = 5
PIECE = 1 << 16  # bytes read at a time
SILENCE_S = 30.0  # longest wait for a connection or the next bytes
AGENT = "endcap (feed reader)"

Progress = Callable[[int, int], None]  # bytes so far, bytes in all (0 = not told)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came. ``path`` is None when nothing changed since the validators that were sent."""

    path: Path | None
    url: str  # after redirects
    etag: str = ""
    last_modified: str = ""
    content_type: str = ""


def fetch(
    url: str,
    path: Path,
    *,
    etag: str = "",
    last_modified: str = "",
    allow_private: bool = False,
    max_bytes: int = 1_000_000_000,
    max_s: float = 300.0,
    progress: Progress | None = None,
) -> Fetched:
    """Write what ``url`` gives to ``path``. ``InvalidInput`` says what is wrong with the address or the answer."""
    deadline = time.monotonic() + max_s
    given = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    headers = {name: value for name, value in given.items() if value}
    for _ in range(HOPS + 1):
        connection, answer = ask(url, headers, allow_private)
        try:
            if answer.status in (301, 302, 303, 307, 308):
                url = urljoin(url, answer.getheader("location") or "")
                continue
            told = {
                "url": url,
                "etag": answer.getheader("etag") or "",
                "last_modified": answer.getheader("last-modified") or "",
                "content_type": answer.getheader("content-type") or "",
            }
            if answer.status == 304 and headers:
                return Fetched(None, **{**told, "etag": told["etag"] or etag})
            if answer.status != 200:
                raise InvalidInput(f"{shown(url)} answers {answer.status} {answer.reason}; expected 200")
            save(answer, path, shown(url), max_bytes, deadline, max_s, progress)
            return Fetched(path, **told)
        except (OSError, http.client.HTTPException, zlib.error) as failed:
            raise InvalidInput(f"{shown(url)} broke off: {failed or type(failed).__name__}") from failed
        finally:
            answer.close()
            connection.close()
    raise InvalidInput(f"{shown(url)} redirects more than {HOPS} times")


def shown(url: str) -> str:
    """An address for messages: without a password and without the query, which may hold a token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def ask(url: str, headers: dict[str, str], allow_private: bool) -> tuple[Connection, http.client.HTTPResponse]:
    """Send the question to a checked address."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as wrong:
        raise InvalidInput(f"{url[:200]!r} is no address: {wrong}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"{shown(url)!r} is no web address; expected http:// or https://")
    sent = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "gzip", **headers}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        sent["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    address = checked_address(parts.hostname, port, allow_private)
    connection = Connection(parts.hostname, port, address, parts.scheme == "https")
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=sent)
        return connection, connection.getresponse()
    except (OSError, http.client.HTTPException, UnicodeError) as failed:
        connection.close()
        raise InvalidInput(f"{shown(url)} cannot be reached: {failed or type(failed).__name__}") from failed


def checked_address(host: str, port: int, allow_private: bool) -> str:
    """An address of the host; ``InvalidInput`` when any of them belongs to this machine or a private network."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as unknown:
        raise InvalidInput(f"the name {host} is not known: {unknown}") from None
    addresses = sorted(str(address) for address in found)
    inside = [text for text in addresses if not is_public(text)]
    if inside and not allow_private:
        raise InvalidInput(
            f"{host} leads to {inside[0]}, an address of this machine or a private network; "
            "if that is meant, set allow_private = true for this feed"
        )
    return addresses[0]


def is_public(text: str) -> bool:
    """Whether an address belongs to the internet at large."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_global and not address.is_multicast


class Connection(http.client.HTTPConnection):
    """A connection to one address, whatever the name resolves to by now."""

    def __init__(self, host: str, port: int, address: str, secure: bool) -> None:
        super().__init__(host, port, timeout=SILENCE_S)
        self._address = address
        self._secure = secure
        if secure:
            self.default_port = 443

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        context = ssl.create_default_context() if self._secure else None
        self.sock = context.wrap_socket(plain, server_hostname=self.host) if context else plain


def save(
    answer: http.client.HTTPResponse, path: Path, name: str, max_bytes: int, deadline: float, max_s: float,
    progress: Progress | None,
) -> None:  # fmt: skip
    """The body, unpacked, into a file. A body shorter than announced is an error."""
    total = int(answer.getheader("content-length") or 0)
    encoding = (answer.getheader("content-encoding") or "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise InvalidInput(f"{name} is sent as {encoding}; gzip or nothing was asked for")
    unpack = None
    came = kept = 0
    with path.open("wb") as file:
        while piece := answer.read(PIECE):
            if came == 0 and (encoding != "identity" or piece[:2] == b"\x1f\x8b"):
                unpack = zlib.decompressobj(31)
            came += len(piece)
            while piece:
                out = unpack.decompress(piece, PIECE * 16) if unpack else piece
                kept += len(out)
                if kept > max_bytes:
                    raise InvalidInput(
                        f"{name} is over {max_bytes} bytes; raise max_bytes of this feed if that is right"
                    )
                file.write(out)
                piece = unpack.unconsumed_tail if unpack else b""
            if time.monotonic() > deadline:
                raise InvalidInput(f"{name} took more than {max_s:g} s; it is read again at the next turn")
            if progress is not None:
                progress(came, total)
    if (total and came < total) or (unpack is not None and not unpack.eof):
        raise InvalidInput(f"{name} broke off after {came} bytes")


def suffix_of(path: Path, content_type: str = "") -> str:
    """The ending that tells the importer what a file is, from its first bytes; the sender's word only decides ties."""
    with path.open("rb") as file:
        head = file.read(4096)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    start = text[:512].lower()
    if head[:4] == b"PAR1":
        return ".parquet"
    if start[:1] == b"<":
        page = start.startswith((b"<!doctype html", b"<html")) or b"<html" in start or "html" in content_type
        return ".html" if page and b"<rss" not in start and b"<feed" not in start else ".xml"
    if start[:1] in (b"{", b"["):
        return ".jsonld" if b'"@type"' in text or b'"@context"' in text or b'"@graph"' in text else ".jsonl"
    return ".csv"
