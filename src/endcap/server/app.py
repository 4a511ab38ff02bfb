"""The ASGI application: one place through which every request of the API goes.

    shed -> key -> body -> handler -> reply -> counted

The hot addresses are found by one dictionary probe before any routing; Starlette routes the others and serves the
pages. Handlers never touch ASGI. Nothing a client sends ends in a status of 500 or above, except being shed or a
fault of ours, which is logged with its trace and answered without it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from time import perf_counter
from urllib.parse import unquote

import msgspec
from starlette.routing import BaseRoute, Router
from starlette.routing import Route as Address

from endcap.errors import EndcapError, Forbidden, InvalidInput, NotFound, StoreError
from endcap.server.keys import Key, KeyRing
from endcap.server.openapi import document
from endcap.server.pages import pages
from endcap.server.policy import POLICY, PUBLIC, refuse_unguarded
from endcap.server.requestlog import RequestLog
from endcap.server.routes import HOT, ROUTES, Route
from endcap.server.service import Service, check_id
from endcap.server.wire import (
    BadText,
    Call,
    ClientGone,
    Header,
    Receive,
    Reply,
    Scope,
    Send,
    Stream,
    error_reply,
    read_body,
    reply_for,
    retry_after,
)

ALLOWED_HEADERS = (  # ours, then what the browser libraries of Segment and RudderStack add
    b"authorization, content-type, x-endcap-key, content-encoding, x-retry-count, anonymousid, sentat, "
    b"rsa-recovered, rsa-retry-attempt, rsa-retry-reason, rsa-since-first-attempt, rsa-since-last-attempt"
)


class App:
    """Serves one engine over HTTP. ``keys`` None = open: every request may do everything, on loopback only."""

    def __init__(
        self,
        service: Service,
        keys: KeyRing | None,
        log: RequestLog,
        routes: Sequence[Route] = ROUTES,
        policy: Mapping[str, frozenset[str]] = POLICY,
    ) -> None:
        refuse_unguarded((route.name for route in routes), policy)
        self._policy = policy
        self.service = service
        self.keys = keys
        self.log = log
        self.in_flight = 0
        self._max_in_flight = service.config.server.max_in_flight
        self._max_body = service.config.server.max_body_bytes
        self._origins = frozenset(origin.encode() for origin in service.config.server.allow_origins)
        service.openapi = msgspec.json.encode(document(ROUTES))
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_path.setdefault(route.path, {})[route.method] = route
        self._hot = {path: by_path[path] for path in HOT if path in by_path}
        self._router = Router(self._addresses(by_path) + pages(), redirect_slashes=False, default=self._nothing_here)

    def _addresses(self, by_path: dict[str, dict[str, Route]]) -> list[BaseRoute]:
        """Longer addresses first, so that a plain ``{id}`` does not swallow ``{id}/similar``."""
        ordered = sorted(by_path, key=lambda path: -len(path))
        return [Address(path.replace("{id}", "{id:path}"), Resource(self, by_path[path])) for path in ordered]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        methods = self._hot.get(scope["path"])
        if methods is not None:
            route = methods.get(scope["method"])
            if route is not None:
                await self.answer(route, "", "", scope, receive, send)
                return
        # Routing sees the address still encoded: a slash inside an id must not look like one between segments.
        scope["path"] = scope["raw_path"].decode("ascii", "replace")
        await self._router(scope, receive, send)

    async def answer(
        self, route: Route, path_id: str, path_name: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """One request through all its steps."""
        began = perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if self.in_flight >= self._max_in_flight:
            self.service.metrics.shed += 1
            reply = error_reply(503, "overloaded", "too many requests under way", headers=(retry_after(1),))
            await reply.send(send, self._cors(headers))
            return
        self.in_flight += 1
        fault: Exception | None = None
        try:
            try:
                body = b""
                if route.finds_key is None:
                    key = self._admit(route, headers)
                else:  # the key may be in the body, so that is read first
                    body = await read_body(receive, headers, self._max_body) if route.reads_body else b""
                    key = self._admit(route, headers, route.finds_key(headers, scope["query_string"], body))
                if path_id:
                    check_id("id", path_id)
                if route.finds_key is None and route.reads_body:
                    body = await read_body(receive, headers, self._max_body)
                call = Call(headers, scope["query_string"], key, body, path_id, path_name, receive)
                reply = await route.handler(self.service, call)
            except EndcapError as error:
                reply = reply_for(error)
                if reply.status == 500 or isinstance(error, StoreError):
                    fault = error
            except ClientGone:
                return
            except UnicodeEncodeError:  # only a client's half surrogate pair cannot be encoded; nothing is stored yet
                reply = reply_for(BadText())
            except Exception as error:
                fault = error
                reply = error_reply(500, "internal", "a fault of the server; its log has the details")
            await reply.send(send, self._cors(headers))
        finally:
            self.in_flight -= 1
        seconds = 0.0 if isinstance(reply, Stream) else perf_counter() - began  # a stream is long, not slow
        self.service.metrics.request(route.name, reply.status)
        if self.log.wants(reply.status, seconds):
            self.log.request(route.name, reply.status, seconds, fault)

    def _admit(self, route: Route, headers: dict[bytes, bytes], elsewhere: bytes = b"") -> Key | None:
        """The key that opens this route, None for public routes and open servers. Raises ``Forbidden``.

        ``elsewhere`` is a key that the request carries in its own way; a header of ours counts before it.
        """
        allowed = self._policy[route.name]
        if PUBLIC in allowed:
            return None
        presented = headers.get(b"x-endcap-key")
        if presented is None:
            presented = authorized(headers) or elsewhere
        if self.keys is None:
            self._refuse_foreign(headers)
            return None
        key = self.keys.find(presented.decode("latin-1").strip()) if presented else None
        if key is None:
            what = "unknown, revoked or expired key" if presented else "no key"
            raise Forbidden(
                f"{what}; send Authorization: Bearer KEY (list keys: endcap keys list)", authenticated=False
            )
        if key.kind not in allowed:
            raise Forbidden(f"a {key.kind} key may not {route.name}; expected a key of: {', '.join(sorted(allowed))}")
        if key.kind == "browser":
            origin = headers.get(b"origin")
            if origin is not None and origin not in self._origins and not same_origin(origin, headers):
                raise Forbidden("this origin is not in server.allow_origins")
        return key

    def _refuse_foreign(self, headers: dict[bytes, bytes]) -> None:
        """An open server on loopback is reachable from every page its owner visits: let only our own pages in."""
        host = headers.get(b"host", b"").lower()
        if not is_loopback(host):
            raise Forbidden("an open server answers on localhost only; start it with keys to use another name")
        origin = headers.get(b"origin")
        if origin is None:
            foreign = headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
        else:
            foreign = origin not in self._origins and not same_origin(origin, headers)
        if foreign:
            raise Forbidden("an open server answers its own pages only; list others in server.allow_origins")

    def _cors(self, headers: dict[bytes, bytes]) -> tuple[Header, ...]:
        if not self._origins:
            return ()
        origin = headers.get(b"origin")
        if origin in self._origins:
            # a page's client must see when to come back
            return (
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", b"retry-after"),
                (b"vary", b"origin"),
            )
        return ((b"vary", b"origin"),)

    async def preflight(self, methods: Sequence[str], scope: Scope, send: Send) -> None:
        """The browser's question before a cross-origin request."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if headers.get(b"origin") not in self._origins:
            reply = error_reply(403, "forbidden", "this origin is not in server.allow_origins")
        else:
            allow = (
                (b"access-control-allow-methods", ", ".join(methods).encode()),
                (b"access-control-allow-headers", ALLOWED_HEADERS),
                (b"access-control-max-age", b"7200"),
            )
            reply = Reply(b"", 200, allow)
        await reply.send(send, self._cors(headers))

    async def _nothing_here(self, scope: Scope, _receive: Receive, send: Send) -> None:
        reply = error_reply(404, "not_found", "nothing at this address; the routes are listed at /docs")
        self.service.metrics.request("none", 404)
        await reply.send(send, self._cors(dict(scope["headers"])))


class Resource:
    """All methods of one address, as Starlette calls it."""

    def __init__(self, app: App, methods: dict[str, Route]) -> None:
        self._app = app
        self._methods = methods
        self._allow = sorted({*methods, *(("HEAD",) if "GET" in methods else ()), "OPTIONS"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method == "OPTIONS":
            await self._app.preflight(self._allow, scope, send)
            return
        route = self._methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allow = ((b"allow", ", ".join(self._allow).encode()),)
            reply = error_reply(405, "method_not_allowed", "this address has no such method", headers=allow)
            await reply.send(send)
            return
        try:
            path_id, path_name = (
                unquote(scope["path_params"].get(part, ""), errors="strict") for part in ("id", "name")
            )
        except UnicodeDecodeError:
            wrong = InvalidInput("the id in the address is not UTF-8; percent-encode its UTF-8 bytes", field="id")
            await reply_for(wrong).send(send)
            return
        if not path_id and "id" in scope["path_params"]:
            await reply_for(NotFound("the address lacks an id")).send(send)
            return
        await self._app.answer(route, path_id, path_name, scope, receive, send)


def authorized(headers: dict[bytes, bytes]) -> bytes:
    """The key of an Authorization header: after Bearer, or the user name of Basic, as analytics libraries send it."""
    scheme, _, presented = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return presented
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(presented, validate=True).partition(b":")[0]
        except ValueError:
            return b""
    return b""


def is_loopback(host: bytes) -> bool:
    """Whether a Host header names this machine itself; a name that only resolves to it (DNS rebinding) does not."""
    name = host[: host.index(b"]") + 1] if host.startswith(b"[") and b"]" in host else host.partition(b":")[0]
    return name in (b"localhost", b"127.0.0.1", b"[::1]")


def same_origin(origin: bytes, headers: dict[bytes, bytes]) -> bool:
    """Whether a page's origin is this server as the browser addressed it."""
    _, _, place = origin.partition(b"://")
    return bool(place) and place == headers.get(b"host")
