"""Product feeds that the server reads by itself, and their routes.

    due -> fetch (only if it changed) -> read whole -> believe it? -> what differs goes to the log -> note the state

A feed is a statement about the whole catalogue of its shop, so it is read to its end before anything is done. It is not
believed when it breaks off, holds nothing, or lost more than ``max_shrink`` of the items that it held the last time: a
file that is being written while it is fetched must not empty the shelves. Only records that differ from the catalogue
are written, and a written record is in force in the next slate.

Fields that feeds do not speak of (``KEPT``) stay as the interface set them. An item that left the feed goes out of
stock, or is deleted; an item whose record was refused stays as it was. The state lies in ``feeds/`` of the data
directory.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, field

from endcap.artifacts import replace_file
from endcap.config import FeedConfig
from endcap.errors import ConfigError, EndcapError, InvalidInput, NotFound
from endcap.events.adapters.feed import BROKEN_OFF
from endcap.events.importer import import_items
from endcap.events.quality import DataQuality
from endcap.preprocess.decode import RefusedRecord
from endcap.server.fetch import Fetched, fetch, shown, suffix_of
from endcap.server.service import Service
from endcap.server.wire import Call, Reply, Throttled, decode_as, encode
from endcap.types import Ack, Item, Refusal

FOLDER = "feeds"
PERIOD_S = 1.0
GROUP = 500  # records written together; requests come in between
MAX_REFUSED = 1_000  # refused records that go to the quarantine from one reading
KEPT = ("vectors", "hidden", "stock_qty", "rating_avg", "rating_count", "published_at", "language")

Change = tuple[str, Item | None]


class FeedState(Struct, kw_only=True):
    """What became of a feed the last time."""

    name: str
    url: str  # without password and query
    status: str = "waiting"  # waiting, fresh, unchanged, refused or failed
    message: str = ""  # why it was refused or failed
    checked_at: int = 0  # epoch ms
    changed_at: int = 0  # epoch ms of the last reading that was believed
    items: int = 0  # in the feed, when it was last believed
    written: int = 0  # new or different records of that reading
    vanished: int = 0  # that were in the feed before
    refused: int = 0  # records that could not be used


class Kept(Struct, kw_only=True):
    """The state as it lies on disk."""

    state: FeedState
    url: str = ""  # the whole address: another one is another feed
    etag: str = ""
    last_modified: str = ""
    ids: list[str] = field(default_factory=list)


class FeedList(Struct, frozen=True, kw_only=True):
    """The configured feeds."""

    feeds: list[FeedState]


class Poll(Struct, frozen=True, kw_only=True):
    """How to read a feed now. An empty body is enough."""

    force: bool = False  # believe it, however much it shrank, and read it though it did not change


_decode_poll = msgspec.json.Decoder(Poll).decode


class Feeds:
    """The feeds of one server."""

    def __init__(self, service: Service, directory: Path | None, say: Callable[[str, str], None]) -> None:
        """``say(event, message)`` writes to the log. ``ConfigError`` for a feed that cannot be meant."""
        self._service = service
        self._directory = directory
        self._say = say
        self._feeds = {feed.name: feed for feed in service.config.feeds}
        check(service.config.feeds, directory)
        self._kept = {name: self._load(feed) for name, feed in self._feeds.items()}
        self._turn = asyncio.Lock()  # one feed at a time: what two say of one item must not interleave

    async def run(self) -> None:
        """Read what is due until cancelled; returns at once when there is no feed."""
        while self._feeds:
            for name, feed in self._feeds.items():
                late_ms = self._service.engine.runtime.now() - self._kept[name].state.checked_at
                if late_ms >= feed.every_min * 60_000:
                    await self.poll(name)
            await asyncio.sleep(PERIOD_S)

    def states(self) -> list[FeedState]:
        """Every feed in the order of the settings."""
        return [kept.state for kept in self._kept.values()]

    async def poll(self, name: str, force: bool = False) -> FeedState:
        """Read a feed now; ``force`` believes it however small, and however old. Errors become part of the state."""
        if name not in self._feeds:
            raise NotFound(f"no feed {name[:80]!r}; configured here: {', '.join(self._feeds) or 'none'}")
        async with self._turn:
            feed, kept = self._feeds[name], self._kept[name]
            before = (kept.state.status, kept.state.message)
            kept.state.checked_at = self._service.engine.runtime.now()
            try:
                await self._read(feed, kept, force)
                kept.state.message = ""
            except Unbelievable as wrong:
                kept.state.status, kept.state.message = "refused", wrong.message
            except EndcapError as wrong:
                kept.state.status, kept.state.message = "failed", wrong.message
            except Exception as wrong:  # a feed must never end the reading of the others
                kept.state.status, kept.state.message = "failed", f"a fault of the server: {wrong!r}"
            state = kept.state
            if state.status == "fresh" or (state.status, state.message) != before:
                counts = f"{state.items} items, {state.written} written, {state.vanished} vanished"
                self._say(f"feed_{state.status}", f"{name}: {state.message or counts}")
            await asyncio.to_thread(self._save, name, kept)
            return state

    async def _read(self, feed: FeedConfig, kept: Kept, force: bool) -> None:
        """Fetch, read, judge, write. ``kept`` is changed only when the feed is believed."""
        draft = self._folder() / f"{slug(feed.name)}.part"
        try:
            got = await asyncio.to_thread(self._fetch, feed, kept, draft, force)
            if got.path is None:
                kept.state.status = "unchanged"
                return
            items, quality, refused = await asyncio.to_thread(self._parse, feed, got)
        finally:
            draft.unlink(missing_ok=True)
            for rest in draft.parent.glob(f"{draft.stem}.read.*"):
                rest.unlink(missing_ok=True)
        judge(feed, kept, quality, force)
        changes, vanished = await asyncio.to_thread(self._differences, feed, kept, items, quality.named)
        await self._write(changes, refused)
        now = self._service.engine.runtime.now()
        kept.etag, kept.last_modified, kept.url, kept.ids = got.etag, got.last_modified, feed.url, sorted(quality.named)
        kept.state = msgspec.structs.replace(
            kept.state, status="fresh", changed_at=now, items=len(quality.named), vanished=vanished,
            written=len(changes) - vanished, refused=quality.n_refused,
        )  # fmt: skip

    def _fetch(self, feed: FeedConfig, kept: Kept, draft: Path, force: bool) -> Fetched:
        known = kept.url == feed.url and not force
        return fetch(
            feed.url, draft, etag=kept.etag if known else "", last_modified=kept.last_modified if known else "",
            allow_private=feed.allow_private, max_bytes=feed.max_bytes, max_s=feed.max_s,
        )  # fmt: skip

    def _parse(self, feed: FeedConfig, got: Fetched) -> tuple[list[Item], DataQuality, list[RefusedRecord]]:
        """Everything in the file. The last of two records of one item counts."""
        assert got.path is not None
        suffix = suffix_of(got.path, got.content_type) if feed.kind == "auto" else f".{feed.kind}"
        path = got.path.rename(got.path.with_suffix(f".read{suffix}"))
        now = self._service.engine.runtime.now()
        items: dict[str, Item] = {}
        refused: list[RefusedRecord] = []

        def refuse(place: str, code: str, message: str) -> None:
            if len(refused) < MAX_REFUSED:
                where = f"feed {feed.name}, record {place.rpartition(':')[2]}"
                refused.append(RefusedRecord(Refusal(index=0, code=code, message=message), where.encode(), now))

        def keep(some: list[Item]) -> Ack:
            items.update((item.item_id, item) for item in some)
            return Ack(accepted=len(some))

        quality = import_items([path], keep, now=now, refused=refuse)
        return list(items.values()), quality, refused

    def _differences(
        self, feed: FeedConfig, kept: Kept, items: Sequence[Item], named: set[str]
    ) -> tuple[list[Change], int]:
        """What must be written so that the catalogue says what the feed says, and how many items vanished."""
        changes: list[Change] = []
        for item in items:
            old = self._record(item.item_id)
            new = item if old is None else with_kept(item, old)
            if new != old:
                changes.append((item.item_id, new))
        vanished = 0
        for item_id in kept.ids:
            old = None if item_id in named else self._record(item_id)
            if old is None:
                continue
            if feed.vanished == "delete":
                changes.append((item_id, None))
            elif old.availability != "out_of_stock":
                changes.append((item_id, msgspec.structs.replace(old, availability="out_of_stock")))
            else:
                continue
            vanished += 1
        return changes, vanished

    def _record(self, item_id: str) -> Item | None:
        try:
            return self._service.engine.item(item_id)
        except NotFound:
            return None

    async def _write(self, changes: Sequence[Change], refused: Sequence[RefusedRecord]) -> None:
        """In groups; where the log is busy, later."""
        rest = list(refused)
        for group in groups(changes):
            while True:
                try:
                    await self._service.write(self._service.engine.item_changes(group), rest)
                    break
                except Throttled as full:
                    await asyncio.sleep(full.retry_after_s)
            rest = []
        if rest:
            await self._service.write((), rest)

    def _folder(self) -> Path:
        assert self._directory is not None
        folder = self._directory / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _load(self, feed: FeedConfig) -> Kept:
        """The state of before, or a new one; a damaged file costs one full reading."""
        try:
            kept = msgspec.json.decode((self._folder() / f"{slug(feed.name)}.json").read_bytes(), type=Kept)
        except (OSError, msgspec.DecodeError):
            return Kept(state=FeedState(name=feed.name, url=shown(feed.url)))
        kept.state.url = shown(feed.url)
        if kept.url != feed.url:
            kept.state.checked_at = 0
        return kept

    def _save(self, name: str, kept: Kept) -> None:
        replace_file(self._folder() / f"{slug(name)}.json", msgspec.json.encode(kept))


class Unbelievable(InvalidInput):
    """A feed that was read and is not believed."""


def judge(feed: FeedConfig, kept: Kept, quality: DataQuality, force: bool) -> None:
    """Raise ``Unbelievable`` for a feed that looks half-written."""
    n, before = len(quality.named), len(kept.ids)
    if BROKEN_OFF in quality.refused:
        raise Unbelievable(f"it breaks off: {quality.examples[BROKEN_OFF][0]}; nothing was changed")
    if force:
        return
    if n == 0 or not quality.items:
        raise Unbelievable(f"no usable item among {quality.read} records; nothing was changed")
    if n < before * (1.0 - feed.max_shrink):
        raise Unbelievable(
            f"{n} items where {before} were: it lost {1 - n / before:.0%}, more than max_shrink = {feed.max_shrink:g}; "
            f'nothing was changed. If that is right: POST /v1/feeds/{feed.name}/poll with {{"force": true}}'
        )


def check(feeds: Sequence[FeedConfig], directory: Path | None) -> None:
    """``ConfigError`` for names that collide and numbers that make no sense."""
    if feeds and directory is None:
        raise ConfigError("feeds need a data directory for their state; this engine keeps everything in memory")
    names = [slug(feed.name) for feed in feeds]
    for feed in feeds:
        where = f"feeds {feed.name!r}"
        if not slug(feed.name) or names.count(slug(feed.name)) > 1:
            raise ConfigError(f"{where}: every feed needs a name of letters and digits that no other has")
        if not feed.url.startswith(("http://", "https://")):
            raise ConfigError(f"{where}: url is {shown(feed.url)!r}; expected http:// or https://")
        if not (feed.every_min > 0 and 0.0 <= feed.max_shrink <= 1.0 and feed.max_bytes > 0 and feed.max_s > 0):
            raise ConfigError(f"{where}: expected every_min, max_bytes, max_s above 0 and max_shrink from 0 to 1")


def slug(name: str) -> str:
    """A name as a file name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")


def with_kept(new: Item, old: Item) -> Item:
    """The feed's record with what only the interface can have said."""
    plain = Item(item_id=new.item_id)
    stay = {name: getattr(old, name) for name in KEPT if getattr(new, name) == getattr(plain, name)}
    return msgspec.structs.replace(new, **stay)


def groups(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Up to ``GROUP`` changes at a time."""
    for start in range(0, len(changes), GROUP):
        yield changes[start : start + GROUP]


# ---------------------------------------------------------------- routes


async def listing(service: Service, _call: Call) -> Reply:
    """Every feed and what became of it."""
    return Reply(encode(FeedList(feeds=service.feeds.states() if service.feeds else [])))


async def poll(service: Service, call: Call) -> Reply:
    """Read a feed now and answer when it is in force."""
    if service.feeds is None:
        raise NotFound("this server reads no feeds; name them in the settings, under [[feeds]]")
    force = bool(call.body) and decode_as(_decode_poll, call.body).force
    return Reply(encode(await service.feeds.poll(call.id, force)))
