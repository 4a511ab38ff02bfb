"""The folded state: everything Endcap knows, as a deterministic function of the log.

    state = fold(log prefix, config)

``State`` joins the parts that fold and gives them events in log order. It holds no arithmetic and no scratch. One live
event is a fold of one; a replay is folds of many thousands; the result is the same arrays (law L1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from endcap.batches import EventBatch
from endcap.config import Config, asked
from endcap.features.catalogue import Catalogue
from endcap.features.counters import Counters
from endcap.features.covisit import Covisit
from endcap.features.exposure import Exposure
from endcap.features.histories import Histories, Trail
from endcap.features.people import People
from endcap.features.rhythm import Rhythm
from endcap.feedback.attribution import OpenSlates
from endcap.feedback.calibration import Calibration
from endcap.feedback.duels import Duels
from endcap.feedback.positions import Positions
from endcap.feedback.scoreboard import Scoreboard
from endcap.models.bandit import Bandit
from endcap.models.friends import Friends
from endcap.models.item2vec import Item2vec
from endcap.models.persons import Persons
from endcap.models.session_knn import SessionKnn
from endcap.models.user_knn import UserKnn
from endcap.models.vector_sets import VectorSets
from endcap.preprocess.batch import BatchBuilder, Link
from endcap.preprocess.clean import Cleaner
from endcap.preprocess.identity import Identity
from endcap.preprocess.ids import Ids
from endcap.protocols import Feature
from endcap.topn import RowMap
from endcap.types import (
    DEVICE_CODE,
    Arrays,
    Context,
    InterestChange,
    ItemChange,
    Query,
    Stored,
    UserChange,
    VectorChange,
)

HOUR_MS = 3_600_000
MOST_ON_THE_WAY = 10_000
SCHEMA = "endcap-state-5"  # raise when the meaning or layout of any array changes: old snapshots are then rebuilt


class State:
    """All parts that fold, by name."""

    def __init__(self, config: Config) -> None:
        self.offset = 0
        self.fresh_half_life_h = config.catalogue.fresh_half_life_h
        self.users, self.items, self.regions = Ids(), Ids(), Ids()
        self.labels = Ids()  # of placements, arms and variants
        self.identity = Identity()
        self.builder = BatchBuilder(self.users, self.items, self.regions, self.labels, self.identity, config.clean)
        self.cleaner = Cleaner(config.clean)
        self.catalogue = Catalogue(self.items, config.catalogue)
        self.vectors = VectorSets()
        self.people = People()
        self.histories = Histories(config.covisit)
        self.counters = Counters()
        self.covisit = Covisit(config.covisit)
        self.rhythm = Rhythm()
        self.exposure = Exposure()
        self.scoreboard = Scoreboard(self.labels)
        self.duels = Duels()
        self.met = RowMap()  # scratch that all sources share: they meet the same items, one after the other
        self.sessions = SessionKnn(config.session_knn, self.met)
        self.neighbours = UserKnn(config.user_knn, self.histories, self.met)
        self.drifts = asked(config, "item2vec")  # a third of the cost of a fold, for whom it serves
        self.item2vec = Item2vec(self.met)
        self.persons = Persons(self.users, self.items)
        self.friends = Friends(self.persons, self.met)
        self.slates = OpenSlates(config.feedback)
        self.positions = Positions()
        self.calibration = Calibration()
        self.bandit = Bandit(config.feedback)
        self._room_users = 0
        self._room_items = 0

    def parts(self) -> dict[str, Feature]:
        """What is saved and hashed, in a fixed order."""
        return {
            "identity": self.identity,
            "cleaner": self.cleaner,
            "catalogue": self.catalogue,
            "vectors": self.vectors,
            "people": self.people,
            "histories": self.histories,
            "counters": self.counters,
            "covisit": self.covisit,
            "rhythm": self.rhythm,
            "exposure": self.exposure,
            "scoreboard": self.scoreboard,
            "duels": self.duels,
            "sessions": self.sessions,
            "neighbours": self.neighbours,
            "item2vec": self.item2vec,
            "friends": self.friends,
            "slates": self.slates,
            "positions": self.positions,
            "calibration": self.calibration,
            "bandit": self.bandit,
        }

    def ids(self) -> dict[str, Ids]:
        """The dictionaries of dense ids."""
        return {"users": self.users, "items": self.items, "regions": self.regions, "labels": self.labels}

    # ------------------------------------------------------------ write

    def fold(self, stored: Sequence[Stored]) -> None:
        """Learn from events, in log order."""
        if not stored:
            return
        for part in self.builder.split(stored):
            if isinstance(part, EventBatch):
                self._make_room()
                self.learn(part)
            elif isinstance(part, Link):
                self._link(part)
            else:
                self._change(part)
        self.offset = stored[-1].offset

    def learn(self, raw: EventBatch) -> None:
        """Clean a batch of interactions and let every family learn from it. The order of these lines is the law."""
        self.learn_shared(*self.learn_own(raw))

    def learn_own(self, raw: EventBatch) -> tuple[EventBatch, Trail]:
        """The shopper's half: what must be fresh in their very next request."""
        batch = self.cleaner.clean(raw)
        self.catalogue.seen(batch.item, batch.ts)
        trail = self.histories.fold(batch)
        self.exposure.fold(batch)
        self.friends.fold(batch)
        return batch, trail

    def learn_shared(self, batch: EventBatch, trail: Trail) -> None:
        """The half that other shoppers see: counts, neighbours, sessions."""
        self.counters.fold(batch, trail, self.catalogue.category, self.catalogue.top_category)
        self.covisit.fold(batch, trail)
        self.rhythm.fold(batch, trail)
        if self.drifts:
            self.item2vec.fold(batch, trail)
        self.sessions.fold(batch)
        self.neighbours.fold(batch)
        self.learn_from_slates(batch)

    def learn_from_slates(self, batch: EventBatch) -> None:
        """What was shown, and what came of it: the feedback that closes the loop."""
        outcomes = self.slates.fold(batch)
        if outcomes is not None and len(outcomes):
            n_labels = len(self.labels)
            self.positions.fold(outcomes, n_labels)
            self.calibration.fold(outcomes, n_labels)
            self.bandit.fold(outcomes, n_labels)
            self.scoreboard.fold(outcomes)
            self.duels.fold(outcomes, n_labels)

    def _change(self, stored: Stored) -> None:
        event = stored.event
        if isinstance(event, ItemChange):
            item = self.items.intern(event.item_id)
            self._make_room()
            catalogue = self.catalogue
            record = event.item
            if record is None:
                self.vectors.forget(item)
            elif record.vectors:
                self.vectors.take(item, record.vectors)
                record = msgspec.structs.replace(record, vectors={})
            catalogue.put(item, record, event.ts)
            self.counters.recategorise(np.array([item], np.int32), catalogue.category, catalogue.top_category)
            self.cleaner.catalogue_price(item, event.item.price if event.item else None)
        elif isinstance(event, VectorChange):
            known = self.items.get(event.item_id) if event.item_id is not None else -1
            self.vectors.fold(event, known if self.catalogue.is_there(known) else -1)
        elif isinstance(event, UserChange):
            user = self.users.intern("u" + event.user_id)
            self.people.put(user, event.user)
            for anon_id in event.user.anon_ids if event.user else ():
                self._link(Link(self.users.intern("a" + anon_id), user))
        elif isinstance(event, InterestChange):
            self._make_room()
            user = self.person(event.user_id, event.anon_id)
            self.histories.drop(user, self.catalogue.tagged(event.tag, event.name))

    def _link(self, link: Link) -> None:
        """An anonymous visitor turned out to be a known user: one history from now on."""
        self._make_room()
        if self.identity.link(link.anon, link.user):
            self.cleaner.merge(link.anon, link.user)
            self.neighbours.merge(link.anon, link.user)  # before the ring moves: it says where to look
            self.histories.merge(link.anon, link.user)
            self.exposure.merge(link.anon, link.user)
            self.friends.merge(link.anon, link.user)
            self.scoreboard.merge(link.anon, link.user)
            self.slates.merge(link.anon, link.user)

    # ------------------------------------------------------------ names

    def announce(self, request_id: str, items: list[int]) -> None:
        """Say that a slate with these dense ids will come through the log: its names need not be looked up again.

        Scratch: without it the fold does the same, slower.
        """
        if len(self.builder.on_the_way) >= MOST_ON_THE_WAY:
            self.builder.on_the_way.clear()
        self.builder.on_the_way[request_id] = items

    def user_of(self, query: Query) -> int:
        """Dense id of the shopper, -1 when nobody is known by these ids."""
        return self.person(query.user_id, query.anon_id)

    def person(self, user_id: str | None, anon_id: str | None) -> int:
        """Dense id of whom these ids name, -1 when nobody is known by them."""
        if user_id is not None:
            dense = self.users.get("u" + user_id)
            if dense >= 0:
                return dense
        if anon_id is None:
            return -1
        return self.identity.resolve(self.users.get("a" + anon_id))

    def moment(self, context: Context | None, t_ms: int) -> tuple[int, int, int]:
        """Local hour, device code, region number (-1 = unknown)."""
        if context is None:
            return t_ms // HOUR_MS % 24, 0, -1
        local = t_ms + (context.utc_offset_min or 0) * 60_000
        region = self.regions.get(context.region) if context.region else -1
        return local // HOUR_MS % 24, DEVICE_CODE.get(context.device or "", 0), region

    def anon_ids(self, user_id: str) -> list[str]:
        """The anonymous ids that turned out to be this user."""
        user = self.users.get("u" + user_id)
        return [] if user < 0 else [self.users.name(anon)[1:] for anon in self.identity.anonymous_ids(user).tolist()]

    def forget(self, user_id: str | None, anon_ids: Sequence[str]) -> None:
        """Know nothing of a person from this moment on; what they left in statistics goes with the next rebuild."""
        keys = ["a" + anon_id for anon_id in anon_ids] + (["u" + user_id] if user_id else [])
        for user in (self.users.get(key) for key in keys):
            if user >= 0:
                self.histories.clear(user)
                self.friends.forget(user)
                self.people.put(user, None)
        item = self.items.get(self.persons.item_id(user_id)) if user_id else -1
        if item >= 0:
            self.catalogue.put(item, None, 0)

    def _make_room(self) -> None:
        """Grow all parts together, seldom: a live event must not pay for forty comparisons."""
        n_users, n_items = len(self.users), len(self.items)
        if n_users > self._room_users or n_items > self._room_items:
            self._room_users = max(1024, n_users + n_users // 2)
            self._room_items = max(1024, n_items + n_items // 2)
            for part in self.parts().values():
                part.grow(self._room_users, self._room_items)

    # ------------------------------------------------------------ save, load, compare

    def arrays(self) -> Arrays:
        """Every array under "part.name"."""
        n_users, n_items = len(self.users), len(self.items)
        named: Arrays = {}
        for name, ids in self.ids().items():
            named.update({f"{name}.{key}": value for key, value in ids.arrays().items()})
        for name, part in self.parts().items():
            named.update({f"{name}.{key}": value for key, value in part.arrays(n_users, n_items).items()})
        return named

    def layout(self) -> str:
        """A short hash of every array's name, type and shape behind the first axis: what a snapshot must fit."""
        shapes = [f"{name}:{array.dtype.str}:{array.shape[1:]}" for name, array in sorted(self.arrays().items())]
        return hashlib.blake2b("|".join(shapes).encode(), digest_size=8).hexdigest()

    def load(self, offset: int, named: Arrays) -> None:
        """The inverse of ``arrays``."""
        for name, ids in self.ids().items():
            ids.load(under(name, named))
        for name, part in self.parts().items():
            part.load(under(name, named))
        self._room_users = self._room_items = 0
        self._make_room()
        self.offset = offset

    def hash(self) -> str:
        """Equal for equal knowledge, however it was folded (laws L1, L2, L3, L12)."""
        digest = hashlib.blake2b(str(self.offset).encode(), digest_size=16)
        for name, array in sorted(self.arrays().items()):
            digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def fold_settings(config: Config) -> list[Any]:
    """The settings that the folded state depends on: a snapshot fits only a state of the same."""
    c = config
    return [c.clean, c.catalogue, c.covisit, c.session_knn, c.user_knn, c.feedback, asked(c, "item2vec")]


def under(prefix: str, named: Arrays) -> Arrays:
    """The arrays of one part, by their own names."""
    return {key[len(prefix) + 1 :]: value for key, value in named.items() if key.startswith(prefix + ".")}
