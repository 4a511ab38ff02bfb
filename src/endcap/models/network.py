"""Network: what a trained neural model leaves behind, and the half of serving that all of them share.

Idea: whatever its inside, a retrieval network ends as two things, a vector for every item and a function from what a
shopper did to one more vector, so that softmax(vectors x user) is what comes next (Covington et al., RecSys 2016;
Hidasi et al., ICLR 2016; Kang and McAuley, ICDM 2018). The first is a table, the second an ONNX graph or a few arrays;
PyTorch is needed to train, not to serve.

A shopper's vector is a function of their ring alone (``Window``): the last interactions, oldest first, with ages
counted from the newest of them. So it does not matter when it is computed: ``look_ahead`` does so after an event, a
request does so when it finds none of the present ring, and both give the same (law L1). What depends on the moment of
the request (hour, place, device) is added there by ``at_moment``. A ring that is newer than the query, or items that
the query names itself, are read for this one request and not kept (law L9); an item named within a minute of its own
event is that event.

Layout: ``ItemVectors`` (models/vectors.py); the vectors of the last ``KEPT`` shoppers in a dictionary with the number
of events that they know. Scores of proposals are exp(score - best score): positive, 1 for the best.

The best ``DEPTH`` items of the last ``ANSWERS`` vectors are remembered too: the other shelves of a page, a page loaded
again and strangers at the same moment ask what was just answered. Equal vectors give equal answers, so nobody can tell.

Cost: a remembered answer ~30 us, most of it to find who gets the credit; else the search of models/vectors.py as well.
Computing a vector is the model's own cost, once per event. Memory: 4 bytes x dim for an item and for a kept shopper,
3 MB for answers. Not for: items that were not there at training, unless the model gives them vectors by their
attributes (two_tower).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numba import njit

from endcap.artifacts import Artifact, read_artifact, write_artifact
from endcap.blocks import Blocks
from endcap.candidates import Candidates, add
from endcap.errors import ArtifactError
from endcap.models.vectors import Codes, ItemVectors, coded, dot
from endcap.types import ACTION_CODE, ACTION_WEIGHT, F4, I1, I4, I8, U4, Arrays, Interest

SCHEMA = "endcap-network-1"
MODELS = ("two_tower", "youtube", "gru4rec", "nextitnet", "sasrec")
KEPT = 65_536  # shoppers whose vectors are remembered
RING = 64
ANSWERS = 4_096  # vectors whose best items are remembered
DEPTH = 64  # best items of a remembered answer; a shorter list is its beginning
JUST_S = 60  # a page that names the item of an event so long ago is the page of that event
CREDITED = 16  # newest seeds among which the one that gets the credit is found
LEAST = 1e-6  # score of the weakest proposal
GRAPH = "graph:"
VIEW = ACTION_CODE["view"]


@dataclass(frozen=True, slots=True)
class Network:
    """What a training gives: data only."""

    model: str  # which of MODELS
    item_ids: list[str]  # n
    vectors: F4  # [n, dim]: an item's score is vectors[item] . user vector
    graphs: dict[str, bytes]  # ONNX by role
    arrays: Arrays  # whatever else the model needs, by name
    meta: dict[str, Any]  # log range, settings, metrics

    def save(self, path: Path) -> None:
        """Write the artifact."""
        encoded = [item_id.encode() for item_id in self.item_ids]
        arrays: Arrays = {
            "item_ids": np.frombuffer(b"".join(encoded), np.uint8),
            "item_ends": np.cumsum([len(one) for one in encoded], dtype=np.int64),
            "vectors": self.vectors,
            **{GRAPH + role: np.frombuffer(graph, np.uint8) for role, graph in self.graphs.items()},
            **self.arrays,
        }
        write_artifact(path, arrays, SCHEMA, {**self.meta, "model": self.model})

    @classmethod
    def load(cls, path: Path) -> Network:
        """Read an artifact. ``ArtifactError`` when it is missing, damaged or not what it says."""
        return cls.of(read_artifact(path, SCHEMA), path)

    @classmethod
    def of(cls, found: Artifact, path: Path) -> Network:
        """The network in an artifact that was read."""
        arrays, meta = dict(found.arrays), dict(found.meta)
        try:
            ids, ends = arrays.pop("item_ids").tobytes(), arrays.pop("item_ends").tolist()
            graphs = {key[len(GRAPH) :]: arrays.pop(key).tobytes() for key in list(arrays) if key.startswith(GRAPH)}
            made = cls(
                str(meta.pop("model")), [ids[a:b].decode() for a, b in pairwise([0, *ends])], arrays.pop("vectors"),
                graphs, {}, meta,
            )  # fmt: skip
            made.arrays.update(arrays)
            made.check()
        except (KeyError, ValueError, TypeError) as wrong:
            raise ArtifactError(f"{path} holds no network: {wrong!r}; train again") from wrong
        return made

    def check(self) -> None:
        """``ArtifactError`` unless shapes fit each other and every number is finite."""
        if self.model not in MODELS:
            raise ArtifactError(f"no model {self.model!r}; known: {', '.join(MODELS)}")
        dim = self.vectors.shape[1] if self.vectors.ndim == 2 else -1
        fits = self.vectors.shape == (len(self.item_ids), dim)
        if not fits:
            raise ArtifactError(
                f"{self.model} does not fit together: {len(self.item_ids)} items, {self.vectors.shape} vectors"
            )
        for name, array in {"vectors": self.vectors, **self.arrays}.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ArtifactError(f"{self.model} holds NaN or infinite numbers in {name}; train again")


class Names(Protocol):
    """The dictionary of item ids."""

    def get(self, key: str) -> int: ...


class Rings(Protocol):
    """The last interactions of every user: pools sorted by time within a user, and how many there ever were."""

    blocks: Blocks
    item: I4
    at_s: U4
    action: I1
    count: I4


@dataclass(slots=True)
class Window:
    """What a shopper did, oldest first. The arrays are scratch: the next window overwrites them."""

    place: I4  # [n] of the item among the network's own
    age_s: I4  # [n] seconds before the newest entry, 0 for the newest
    action: I1  # [n]
    user: int = -1  # -1: not of one shopper's ring alone, so nothing about it may be remembered
    count: int = 0  # events of this shopper so far

    def __len__(self) -> int:
        return int(self.place.shape[0])


@njit(cache=True, nogil=True)
def read_window(
    start: int, length: int, item: I4, at_s: U4, action: I1, until_s: int, from_now: bool, gap_s: int, most: int,
    place_of: I4, places: I4, age_s: I4, actions: I1,
) -> int:  # fmt: skip
    """Write the newest ``most`` entries with a place and a positive action, oldest first; returns how many.

    ``gap_s`` > 0: only those behind the last pause longer than this, none when it lies between ``until_s`` and the
    newest. Entries later than ``until_s`` are not read. Ages count from the newest entry, or ``from_now`` from
    ``until_s``.
    """
    n, newest, later = 0, np.int64(0), np.int64(until_s)
    for k in range(start + length - 1, start - 1, -1):
        at = np.int64(at_s[k])
        if at > until_s:
            continue
        if gap_s > 0 and later - at > gap_s:
            break
        later = at
        place = place_of[item[k]] if item[k] < place_of.shape[0] else -1
        if place < 0 or ACTION_WEIGHT[action[k]] <= 0.0:
            continue
        if n == 0:
            newest = np.int64(until_s) if from_now else at
        places[n], age_s[n], actions[n] = place, newest - at, action[k]
        n += 1
        if n == most:
            break
    for k in range(n // 2):
        m = n - 1 - k
        places[k], places[m] = places[m], places[k]
        age_s[k], age_s[m] = age_s[m], age_s[k]
        actions[k], actions[m] = actions[m], actions[k]
    return n


@njit(cache=True, nogil=True)
def offer(
    items: I4, scores: F4, seeds: I4, n_seeds: int, row_of: I4, unit: F4, rows: I4, column: int,
    into_items: I4, into_score: F4, into_seeds: I4, into_stamp: I4, into_row: I4, into_head: I8,
) -> None:  # fmt: skip
    """Propose items, best first; the credit has the seed that is nearest to each, -1 when no seed has a vector."""
    for j in range(n_seeds):
        rows[j] = row_of[seeds[j]] if 0 <= seeds[j] < row_of.shape[0] else -1
    for k in range(items.shape[0]):
        row, nearest, likeness = row_of[items[k]], -1, -np.inf
        for j in range(n_seeds):
            if rows[j] >= 0:
                found = dot(unit[row], unit[rows[j]])
                if found > likeness:
                    nearest, likeness = j, found
        strength = max(np.exp(scores[k] - scores[0]), np.float32(LEAST))
        add(items[k], column, strength, nearest, into_items, into_score, into_seeds, into_stamp, into_row, into_head)


class NetworkSource:
    """A source around a network. Silent until ``use`` was called. A model overrides ``encode`` and what it must."""

    name = ""
    most = 50  # entries of a window
    gap_s = 0  # > 0: a window is the running session, which a longer pause ends

    def __init__(self, rings: Rings) -> None:
        self.vectors = ItemVectors()
        self.network: Network | None = None
        self.codes: Codes | None = None  # of its vectors as they were trained
        self._rings = rings
        self.place_of: I4 = np.zeros(0, np.int32)  # by dense item, -1 = none
        self._kept: dict[int, tuple[int, int, F4 | None]] = {}  # by user: events, newest of them, vector
        self._answers: dict[bytes, tuple[I4, F4]] = {}  # by vector: items, scores
        self._answered = 0  # version of the vectors that these are of
        self._rows: I4 = np.zeros(CREDITED, np.int32)
        self._places: I4 = np.zeros(2 * RING, np.int32)
        self._age_s: I4 = np.zeros(2 * RING, np.int32)
        self._action: I1 = np.zeros(2 * RING, np.int8)

    def use(self, network: Network | None, items: Names, codes: Codes | None = None) -> None:
        """Serve another network from the next query on, or none; those of its items unknown here are left out.

        ``codes``: ``coded(network.vectors)``, made where nobody waits for it.
        """
        self._kept.clear()
        self.network, self.codes = network, None
        if network is None:
            self.vectors.clear(0)
            return
        network.check()
        dense = np.array([items.get(item_id) for item_id in network.item_ids], np.int32)
        known = np.flatnonzero(dense >= 0)
        self.codes = codes or coded(network.vectors)
        self.vectors.hold(dense, network.vectors, self.codes)
        self.place_of = np.full(int(dense.max(initial=-1)) + 1, -1, np.int32)
        self.place_of[dense[known]] = known
        self.open(network)

    # ------------------------------------------------------------ what a model gives

    def open(self, network: Network) -> None:
        """Get ready to ``encode``."""

    def encode(self, window: Window) -> F4 | None:
        """The vector [dim] of a shopper from a window that holds something; None when it says nothing."""
        raise NotImplementedError

    def at_moment(self, user_vector: F4 | None, interest: Interest) -> F4 | None:
        """The vector for this request: what hour, place and device add."""
        return user_vector

    # ------------------------------------------------------------ windows and vectors

    def look_ahead(self, interest: Interest) -> None:
        """Compute the shopper's vector and find its best items now, so that a request at such a moment need not."""
        user = interest.user
        if self.network is not None and 0 <= user < self._rings.count.shape[0] and self._newest_s(user):
            for x in self.expected(self._of_ring(user), interest):
                self._best(x, DEPTH)

    def expected(self, user_vector: F4 | None, interest: Interest) -> list[F4]:
        """The vectors that a request at such a moment may have."""
        x = self.at_moment(user_vector, interest)
        return [] if x is None else [x]

    def _of_ring(self, user: int) -> F4 | None:
        """The vector of a shopper's whole ring."""
        count, newest_s = int(self._rings.count[user]), self._newest_s(user)
        found = self._kept.get(user)
        if found is not None and found[:2] == (count, newest_s):
            return found[2]
        window = self._window(user, newest_s)
        window.user, window.count = user, count
        vector = self.encode(window) if len(window) else None
        self._kept.pop(user, None)
        if len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[user] = (count, newest_s, vector)
        return vector

    def _newest_s(self, user: int) -> int:
        """Time of the shopper's newest entry, epoch s; 0 = there is none."""
        blocks = self._rings.blocks
        return int(self._rings.at_s[blocks.start[user] + blocks.length[user] - 1]) if blocks.length[user] else 0

    def _just_touched(self, interest: Interest) -> bool:
        """Whether the query names one item, and it is the newest of the ring: its event came before the request."""
        user, rings = interest.user, self._rings
        if user < 0 or interest.n_context != 1 or not rings.blocks.length[user]:
            return False
        last = rings.blocks.start[user] + rings.blocks.length[user] - 1
        return bool(
            rings.item[last] == interest.seeds[0]
            and ACTION_WEIGHT[rings.action[last]] > 0.0
            and 0 <= interest.t_s - int(rings.at_s[last]) <= JUST_S
        )

    def _window(self, user: int, until_s: int, named: Sequence[int] = ()) -> Window:
        """The window at a moment, with items that the query names as its newest views."""
        rings, n = self._rings, 0
        if user >= 0:
            n = read_window(
                int(rings.blocks.start[user]), int(rings.blocks.length[user]), rings.item, rings.at_s, rings.action,
                until_s, len(named) > 0, self.gap_s, self.most, self.place_of,
                self._places, self._age_s, self._action,
            )  # fmt: skip
        for item in named:
            place = int(self.place_of[item]) if 0 <= item < self.place_of.shape[0] else -1
            if place >= 0:
                self._places[n], self._age_s[n], self._action[n] = place, 0, VIEW
                n += 1
        first = max(0, n - self.most)
        return Window(self._places[first:n], self._age_s[first:n], self._action[first:n])

    def user_vector(self, interest: Interest) -> F4 | None:
        """The vector [dim] of a request, None when the model has nothing to say."""
        user = interest.user
        if interest.n_context and not self._just_touched(interest):
            window = self._window(user, interest.t_s, interest.seeds[: interest.n_context].tolist()[::-1])
            return self.at_moment(self.encode(window) if len(window) else None, interest)
        newest_s = self._newest_s(user) if user >= 0 else 0
        if not newest_s:
            return self.at_moment(None, interest)
        if newest_s > interest.t_s:
            window = self._window(user, interest.t_s)
            return self.at_moment(self.encode(window) if len(window) else None, interest)
        if self.gap_s and interest.t_s - newest_s > self.gap_s:
            return self.at_moment(None, interest)
        return self.at_moment(self._of_ring(user), interest)

    # ------------------------------------------------------------ retrieval

    def retrieve(self, interest: Interest, into: Candidates, column: int, n: int) -> None:
        """Propose the ``n`` items with the highest scores; the shopper's own may be among them."""
        if self.vectors.n == 0:
            return
        x = self.user_vector(interest)
        if x is None:
            return
        items, scores = self._best(x, n)
        if items.shape[0] == 0 or not np.isfinite(scores[0]):
            return
        vectors = self.vectors
        offer(
            items, scores, interest.seeds, min(interest.n_seeds, CREDITED), vectors.row_of, vectors.unit, self._rows,
            column, into.items, into.score, into.seeds, into.stamp, into.row_of, into.head,
        )  # fmt: skip

    def _best(self, x: F4, n: int) -> tuple[I4, F4]:
        """(items, scores) of the ``n`` best for a vector."""
        if n > DEPTH:  # reads more codes, so its beginning may be another one
            return self.vectors.nearest(x, n, -1, -np.inf)
        if self._answered != self.vectors.version:
            self._answers.clear()
            self._answered = self.vectors.version
        key = x.tobytes()
        found = self._answers.get(key)
        if found is None:
            if len(self._answers) >= ANSWERS:
                del self._answers[next(iter(self._answers))]
            found = self._answers[key] = self.vectors.nearest(x, DEPTH, -1, -np.inf)
        return found[0][:n], found[1][:n]
