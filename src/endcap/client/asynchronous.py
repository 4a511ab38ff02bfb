"""The client for asyncio: the same calls, awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

from endcap.client.calls import Answer, Calls, Exchange, Steps, encode, query_of
from endcap.client.outbox import OnDrop, Outbox
from endcap.client.transport import httpx_module, lost, settle, stamped, taken
from endcap.errors import InvalidInput
from endcap.types import Ack, Context, Interaction, Item, Slate, User

T = TypeVar("T")


class AsyncClient:
    """Talks to one server from one event loop; arguments and methods are those of ``Client``."""

    def __init__(
        self, url: str, key: str | None = None, *, timeout_s: float = 2.0, attempts: int = 3, every_s: float = 0.2,
        outbox: int = 10_000, on_drop: OnDrop | None = None,
    ) -> None:  # fmt: skip
        if attempts < 1 or outbox < 1 or timeout_s <= 0:
            raise InvalidInput("expected attempts and outbox of 1 or more and timeout_s above 0")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx_module().AsyncClient(base_url=url.rstrip("/"), headers=headers)
        self._calls = Calls(timeout_s, attempts, time.monotonic)
        self._outbox = Outbox(outbox, on_drop)
        self._every_s = every_s
        self._wake = asyncio.Event()
        self._closing = False
        self._urgent = False
        self._task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ slates

    async def recommend(
        self, placement: str = "home", *, user_id: str | None = None, anon_id: str | None = None,
        session_id: str | None = None, n: int = 0, items: Sequence[str] = (), exclude: Sequence[str] = (),
        filter: Mapping[str, Any] | None = None,  # noqa: A002  as the interface calls it
        context: Context | None = None, personalization: bool = True,
        at_least: int = 0, shown: bool = True, default: Sequence[str] | None = None,
    ) -> Slate:  # fmt: skip
        """See ``Client.recommend``."""
        query = query_of(
            placement, user_id=user_id, anon_id=anon_id, session_id=session_id, n=n, items=items, exclude=exclude,
            filter=filter, context=context, personalization=personalization, at_least=at_least,
        )  # fmt: skip
        return await self._run(self._calls.recommend(query, shown, default))

    async def search(
        self, text: str, *, user_id: str | None = None, anon_id: str | None = None, n: int = 0,
        exclude: Sequence[str] = (),
    ) -> Slate:  # fmt: skip
        """See ``Client.search``."""
        asked = {"user_id": user_id, "anon_id": anon_id, "n": n, "exclude": exclude}
        return await self._run(self._calls.search(text, asked))

    # ------------------------------------------------------------ events

    async def send(self, *events: Interaction | Mapping[str, Any]) -> Ack:
        """Events now; they are on disk when this returns. Refused ones are in ``rejected``."""
        return await self._run(self._calls.send(events))

    def track(self, event: Interaction | Mapping[str, Any] | None = None, **fields: Any) -> None:
        """An event soon, by a task of its own. Never raises and never waits; call it on the client's loop."""
        try:
            self._outbox.put(encode(stamped(event, fields)))
            if self._task is None and not self._closing:
                self._task = asyncio.get_running_loop().create_task(self._deliver())
        except Exception as wrong:
            self._outbox.drop("unusable", [repr(event or fields).encode()], str(wrong))
        self._wake.set()

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """Send what waits now; whether all of it left in time."""
        deadline = time.monotonic() + timeout_s
        self._urgent = True
        self._wake.set()
        while len(self._outbox) and self._task is not None and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._urgent = False
        return not len(self._outbox)

    @property
    def waiting(self) -> int:
        """Events in the outbox."""
        return len(self._outbox)

    @property
    def dropped(self) -> dict[str, int]:
        """Events that were dropped so far, by reason."""
        return dict(self._outbox.dropped)

    @property
    def offset(self) -> int:
        """The newest event that this client knows to be stored; every question carries it."""
        return self._calls.offset

    # ------------------------------------------------------------ records

    async def put_items(self, items: Iterable[Item | Mapping[str, Any]]) -> Ack:
        """Create or replace catalogue records, in requests of bounded size."""
        return await self._run(self._calls.put_items(items))

    async def patch_item(self, item_id: str, **fields: Any) -> Ack:
        """Change fields of a record; None sets one back to its default."""
        return await self._run(self._calls.write("PATCH", f"/v1/items/{quote(item_id, safe='')}", encode(fields)))

    async def delete_item(self, item_id: str) -> Ack:
        """Take an item out of every later slate."""
        return await self._run(self._calls.write("DELETE", f"/v1/items/{quote(item_id, safe='')}"))

    async def item(self, item_id: str) -> Item:
        """A catalogue record. ``NotFound`` when there is none."""
        return await self._run(self._calls.item(item_id))

    async def put_user(self, user: User) -> Ack:
        """Create or replace what the shop says about a user."""
        return await self._run(self._calls.write("PUT", f"/v1/users/{quote(user.user_id, safe='')}", encode(user)))

    async def user(self, user_id: str) -> User:
        """What the shop said about a user."""
        return await self._run(self._calls.user(user_id))

    async def erase(self, *, user_id: str | None = None, anon_id: str | None = None) -> None:
        """Forget a person and all that was learnt from them. Needs an admin key."""
        await self._run(self._calls.erase(user_id or anon_id or "", user_id is None))

    # ------------------------------------------------------------ carrying out

    async def _run(self, steps: Steps[T]) -> T:
        """Carry out the steps of a call."""
        answer: Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            if isinstance(step, Exchange):
                answer = await self._exchange(step)
            else:
                await asyncio.sleep(step.seconds)
                answer = None

    async def _exchange(self, step: Exchange) -> Answer:
        try:
            return taken(await self._http.request(step.method, step.path, content=step.body, timeout=step.timeout_s))
        except Exception as wrong:
            return lost(wrong)

    async def _deliver(self) -> None:
        """The background task: batches, one after the other, until closed."""
        failures = 0
        while not self._closing or (len(self._outbox) and not failures):
            if not len(self._outbox):
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._rest(0.0 if self._urgent else self._every_s)
            answer, batch = await self._run(self._outbox.deliver(self._calls.timeout_s))
            failures = settle(self._calls, self._outbox, answer, batch, failures)
            if failures:
                await self._rest(self._calls.pause(failures, answer.retry_after_s), hurried=False)

    async def _rest(self, seconds: float, hurried: bool = True) -> None:
        """Wait, unless the client is closing. ``hurried``: a flush does not wait; after a failure it does as well."""
        deadline = time.monotonic() + seconds
        while not (self._closing or (hurried and self._urgent)) and (left := deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(0.05, left))

    async def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for at most so long, and end; what could not leave is dropped as "closed"."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=timeout_s)
            if not done:
                self._task.cancel()
        self._outbox.empty("closed")
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
