"""The client for threads."""

from __future__ import annotations

import atexit
import threading
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


class Client:
    """Talks to one server. Make one and keep it: it holds connections, the outbox, and the offset of what was sent.

    url, key            where, and as whom (a server key in a backend)
    timeout_s           a whole call, with every pause and further attempt
    attempts            how often a call is tried on 429, 503 and failing connections
    every_s             how long ``track`` collects events before they leave
    outbox              most events that wait; a full one drops the oldest and tells ``on_drop``
    """

    def __init__(
        self, url: str, key: str | None = None, *, timeout_s: float = 2.0, attempts: int = 3, every_s: float = 0.2,
        outbox: int = 10_000, on_drop: OnDrop | None = None,
    ) -> None:  # fmt: skip
        if attempts < 1 or outbox < 1 or timeout_s <= 0:
            raise InvalidInput("expected attempts and outbox of 1 or more and timeout_s above 0")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx_module().Client(base_url=url.rstrip("/"), headers=headers)
        self._calls = Calls(timeout_s, attempts, time.monotonic)
        self._outbox = Outbox(outbox, on_drop)
        self._every_s = every_s
        self._work = threading.Condition()
        self._closing = False
        self._urgent = False
        self._thread: threading.Thread | None = None
        atexit.register(self.close)

    # ------------------------------------------------------------ slates

    def recommend(
        self, placement: str = "home", *, user_id: str | None = None, anon_id: str | None = None,
        session_id: str | None = None, n: int = 0, items: Sequence[str] = (), exclude: Sequence[str] = (),
        filter: Mapping[str, Any] | None = None,  # noqa: A002  as the interface calls it
        context: Context | None = None, personalization: bool = True,
        at_least: int = 0, shown: bool = True, default: Sequence[str] | None = None,
    ) -> Slate:  # fmt: skip
        """A slate that knows every event this client has sent. With ``default`` (item ids, [] too) it never raises:
        what goes wrong stands in ``degraded`` and the default's items in ``items``."""
        query = query_of(
            placement, user_id=user_id, anon_id=anon_id, session_id=session_id, n=n, items=items, exclude=exclude,
            filter=filter, context=context, personalization=personalization, at_least=at_least,
        )  # fmt: skip
        return self._run(self._calls.recommend(query, shown, default))

    def search(
        self, text: str, *, user_id: str | None = None, anon_id: str | None = None, n: int = 0,
        exclude: Sequence[str] = (),
    ) -> Slate:  # fmt: skip
        """Items that answer words a shopper typed, best first. Nothing is logged: send a ``search`` event."""
        asked = {"user_id": user_id, "anon_id": anon_id, "n": n, "exclude": exclude}
        return self._run(self._calls.search(text, asked))

    # ------------------------------------------------------------ events

    def send(self, *events: Interaction | Mapping[str, Any]) -> Ack:
        """Events now; they are on disk when this returns. Refused ones are in ``rejected``."""
        return self._run(self._calls.send(events))

    def track(self, event: Interaction | Mapping[str, Any] | None = None, **fields: Any) -> None:
        """An event soon, in the background, in the order of the calls. Never raises and never waits."""
        try:
            self._outbox.put(encode(stamped(event, fields)))
        except Exception as wrong:
            self._outbox.drop("unusable", [repr(event or fields).encode()], str(wrong))
            return
        with self._work:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._deliver, name="endcap-client", daemon=True)
                self._thread.start()
            self._work.notify_all()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Send what waits now; whether all of it left in time."""
        deadline = time.monotonic() + timeout_s
        with self._work:
            self._urgent = True
            self._work.notify_all()
            while len(self._outbox) and self._thread is not None and time.monotonic() < deadline:
                self._work.wait(min(0.05, max(0.001, deadline - time.monotonic())))
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

    def put_items(self, items: Iterable[Item | Mapping[str, Any]]) -> Ack:
        """Create or replace catalogue records, in requests of bounded size."""
        return self._run(self._calls.put_items(items))

    def patch_item(self, item_id: str, **fields: Any) -> Ack:
        """Change fields of a record; None sets one back to its default."""
        return self._run(self._calls.write("PATCH", f"/v1/items/{quote(item_id, safe='')}", encode(fields)))

    def delete_item(self, item_id: str) -> Ack:
        """Take an item out of every later slate."""
        return self._run(self._calls.write("DELETE", f"/v1/items/{quote(item_id, safe='')}"))

    def item(self, item_id: str) -> Item:
        """A catalogue record. ``NotFound`` when there is none."""
        return self._run(self._calls.item(item_id))

    def put_user(self, user: User) -> Ack:
        """Create or replace what the shop says about a user."""
        return self._run(self._calls.write("PUT", f"/v1/users/{quote(user.user_id, safe='')}", encode(user)))

    def user(self, user_id: str) -> User:
        """What the shop said about a user."""
        return self._run(self._calls.user(user_id))

    def erase(self, *, user_id: str | None = None, anon_id: str | None = None) -> None:
        """Forget a person and all that was learnt from them. Needs an admin key."""
        self._run(self._calls.erase(user_id or anon_id or "", user_id is None))

    # ------------------------------------------------------------ carrying out

    def _run(self, steps: Steps[T]) -> T:
        """Carry out the steps of a call."""
        answer: Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            if isinstance(step, Exchange):
                answer = self._exchange(step)
            else:
                time.sleep(step.seconds)
                answer = None

    def _exchange(self, step: Exchange) -> Answer:
        try:
            return taken(self._http.request(step.method, step.path, content=step.body, timeout=step.timeout_s))
        except Exception as wrong:
            return lost(wrong)

    def _deliver(self) -> None:
        """The background thread: batches, one after the other, until closed."""
        failures = 0
        while True:
            with self._work:
                while not len(self._outbox) and not self._closing:
                    self._work.wait()
                if not len(self._outbox) or (self._closing and failures):
                    return
                if not (self._closing or self._urgent):
                    self._work.wait_for(lambda: self._closing or self._urgent, self._every_s)
            answer, batch = self._run(self._outbox.deliver(self._calls.timeout_s))
            failures = settle(self._calls, self._outbox, answer, batch, failures)
            with self._work:
                self._work.notify_all()
                if failures and not self._closing:
                    self._work.wait_for(lambda: self._closing, self._calls.pause(failures, answer.retry_after_s))

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for at most so long, and end; what could not leave is dropped as "closed"."""
        atexit.unregister(self.close)
        with self._work:
            self._closing = True
            self._work.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._outbox.empty("closed")
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
