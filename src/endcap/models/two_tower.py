"""Two-tower: R = softmax(W X + H A + C_t), the softmax model over behaviours, attributes and context.

    R_i = softmax over all items i of  (w_i + h_i) . (f(X) + g(C_t))      h_i = H a_i
        = softmax_i( W X + H A + C_t )     W X:  w_i . f(X)       what shoppers with such behaviour took next
                                           H A:  h_i . f(X)       what an item is, against what the shopper likes
                                           C_t:  (w_i + h_i) . g(C_t)   what goes at this hour, on this device, here

X is the bag of the shopper's weighted behaviours: action weight x rank x recency, as in the interest
(interest/interest.py), over input vectors of the items; f adds one hidden layer to it. a_i are the item's attributes:
category levels, brand, price band and the shop's own, hashed into a learned table, and its texts as the sketch of
models/content.py. C_t is the sum of a vector each for hour, weekday, device, region and placement.

An item that came after the training has no learned part (w_i = 0): it enters by h_i alone, as soon as its record is
known, for training hid that part of every item now and then (DropoutNet: Volkovs, Yu, Poutanen, NeurIPS 2017). Towers
and sampled softmax with log-Q correction: Covington et al., RecSys 2016; Yi et al., RecSys 2019.

Layout of the artifact: ``vectors`` w + h and ``inputs`` [n, dim]; ``learned`` w [n, dim] to renew an item whose record
changes; the towers' matrices by name (``ARRAYS``). A ring's vector f(X) is remembered, g(C_t) is added per request.

Cost: f ~8 us for 50 interactions of 64 dimensions, g ~4 us, then one search; a new item ~170 us. Memory: 12 bytes x dim
an item, ~1.2 MB for the towers. Not for: what order says (a bag has none; sasrec and gru4rec read it).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Protocol

import numpy as np
from msgspec import structs
from numba import njit

from endcap.blocks import grown
from endcap.errors import ArtifactError
from endcap.models.content import DIM as TEXT_DIM
from endcap.models.content import unfitted, vectors_of
from endcap.models.network import RING, Network, NetworkSource, Rings, Window
from endcap.models.terms import bag_of
from endcap.types import ACTION_WEIGHT, DEVICES, F4, I1, I4, Arrays, Interest, Item

HASHED = 4_096  # rows of the table of attributes
HALF_LIFE_S = 86_400.0  # of a behaviour's weight, on top of its rank
FLOOR = 0.05
HIDDEN = 2  # the hidden layer is so many times as wide as a vector
DAY_S = 86_400
ROUNDING = 1e-5
WEEKDAYS = 7
EXPECTED = 3  # placements, asked last, that an answer is found for in advance
UNKNOWN = 0  # the row for a region or placement that training did not see
MATRICES = ("text", "table", "w1", "b1", "w2", "hour", "weekday", "device", "region", "placement")
ARRAYS = ("learned", "inputs", "learned_inputs", *MATRICES)

# RANK_WEIGHT[n, j]: weight of the j-th newest (0 = newest) of n behaviours, as in the interest.
RANK_WEIGHT: F4 = np.ones((RING + 1, RING), np.float32)
for _n in range(2, RING + 1):
    RANK_WEIGHT[_n, :_n] = 2.0 ** (0.1 + 0.9 * (_n - 1 - np.arange(_n)) / (_n - 1)) - 1.0


@njit(cache=True, nogil=True)
def bag_weights(age_s: I4, action: I1, out: F4) -> None:
    """out[k] = share of behaviour k, oldest first, in the bag; they sum to 1."""
    n = age_s.shape[0]
    total = np.float32(0.0)
    for k in range(n):
        recency = max(FLOOR, 2.0 ** (-age_s[k] / HALF_LIFE_S))
        out[k] = ACTION_WEIGHT[action[k]] * RANK_WEIGHT[n, n - 1 - k] * recency
        total += out[k]
    for k in range(n):
        out[k] /= total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def taste(places: I4, share: F4, inputs: F4, w1: F4, b1: F4, w2: F4, bag: F4, hidden: F4, out: F4) -> None:
    """out = f(X): the bag of input vectors and what one hidden layer makes of it. ``w1`` [dim, k], ``w2`` [k, dim]."""
    bag[:] = 0.0
    for k in range(places.shape[0]):
        for d in range(bag.shape[0]):
            bag[d] += share[k] * inputs[places[k], d]
    hidden[:] = b1
    for d in range(bag.shape[0]):
        for h in range(hidden.shape[0]):
            hidden[h] += bag[d] * w1[d, h]
    out[:] = bag
    for h in range(hidden.shape[0]):
        if hidden[h] > 0.0:
            for d in range(out.shape[0]):
                out[d] += hidden[h] * w2[h, d]


def attributes_of(records: Sequence[Item]) -> tuple[F4, I4, F4, I4]:
    """What records say: texts [n, TEXT_DIM]; rows of the hashed table, their weights, and where those of each end.

    The weights of an item sum to 1, so an item with many attributes is no louder than one with few.
    """
    texts = vectors_of(records, unfitted())
    bare = [structs.replace(one, title=None, description=None) for one in records]
    buckets, weight, ends = bag_of(bare)
    begins = np.concatenate(([0], ends[:-1])).astype(np.int32) if ends.shape[0] else ends
    totals = np.add.reduceat(np.append(weight, 0.0), begins) if ends.shape[0] else weight
    lengths = ends - begins
    share = weight / np.maximum(np.repeat(np.where(lengths > 0, totals, 1.0), lengths), 1e-12)
    return texts, (buckets % HASHED).astype(np.int32), share.astype(np.float32), ends


def attribute_vectors(records: Sequence[Item], text: F4, table: F4) -> F4:
    """h = H a [n, dim] of records."""
    texts, rows, share, ends = attributes_of(records)
    out = texts @ text
    owner = np.repeat(np.arange(len(records)), np.diff(ends, prepend=0))
    np.add.at(out, owner, share[:, None] * table[rows])
    return np.ascontiguousarray(out, np.float32)


def weekday_of(t_s: int) -> int:
    """0 = Monday, by UTC."""
    return (t_s // DAY_S + 3) % WEEKDAYS


class Records(Protocol):
    """The catalogue's records."""

    version: int

    def n_items(self) -> int: ...
    def record(self, item: int) -> Item | None: ...
    def changed_since(self, version: int) -> I4 | None: ...


class Named(Protocol):
    """A dictionary of dense ids."""

    def name(self, i: int, /) -> str: ...


class TwoTowerSource(NetworkSource):
    """Proposes by R = softmax(W X + H A + C_t)."""

    name = "two_tower"

    def __init__(self, rings: Rings, catalogue: Records, regions: Named) -> None:
        """``regions``: the dictionary that an interest's region is a number of."""
        super().__init__(rings)
        self._catalogue, self._regions = catalogue, regions
        self._version = 0
        self._waiting: dict[int, None] = {}  # items whose records are to be read, in order
        self._arrays: Arrays = {}
        self._inputs: F4 = np.zeros((0, 0), np.float32)
        self._n_places = 0
        self._share: F4 = np.zeros(2 * RING, np.float32)

    def open(self, network: Network) -> None:
        """Towers and tables at hand; items without a place wait for theirs."""
        dim = network.vectors.shape[1]
        self._arrays = checked(network)
        self._inputs = self._arrays["inputs"].copy()
        self._n_places = self._inputs.shape[0]
        self._bag: F4 = np.zeros(dim, np.float32)
        self._hidden: F4 = np.zeros(self._arrays["b1"].shape[0], np.float32)
        self._none = taste_of_none(self._arrays)
        self._region_row, self._placement_row = (rows_by_name(network, name) for name in ("regions", "placements"))
        self._asked: dict[int, None] = {}  # rows of the placements asked of late, the last at the end
        self._version = self._catalogue.version
        known = self.place_of
        self._waiting = {
            item: None for item in range(self._catalogue.n_items()) if item >= known.shape[0] or known[item] < 0
        }

    # ------------------------------------------------------------ items by their attributes

    def catch_up(self, most: int) -> int:
        """Give vectors to what the catalogue gained or changed, at most ``most`` items; returns how many still wait."""
        if self.network is None:
            return 0
        if self._version != self._catalogue.version:
            changed = self._catalogue.changed_since(self._version)
            items = range(self._catalogue.n_items()) if changed is None else changed.tolist()
            self._waiting.update(dict.fromkeys(items))
            self._version = self._catalogue.version
        if self._waiting:
            now = list(islice(self._waiting, most))
            for item in now:
                del self._waiting[item]
            self._read(now)
        return len(self._waiting)

    def _read(self, items: list[int]) -> None:
        listed = [(item, record) for item in items if (record := self._catalogue.record(item)) is not None]
        if not listed:
            return
        dense = np.array([item for item, _ in listed], np.int32)
        by_attributes = attribute_vectors([record for _, record in listed], self._arrays["text"], self._arrays["table"])
        self.place_of = grown(self.place_of, int(dense.max()) + 1, -1)
        fresh = np.flatnonzero(self.place_of[dense] < 0)
        self.place_of[dense[fresh]] = self._n_places + np.arange(fresh.shape[0], dtype=np.int32)
        self._n_places += fresh.shape[0]
        self._inputs = grown(self._inputs, self._n_places, 0.0)
        inputs = by_attributes + self._of_place("learned_inputs", self.place_of[dense])
        new = np.abs(self._inputs[self.place_of[dense]] - inputs).max(axis=1) > ROUNDING  # most changes are of stock
        new[fresh] = True
        dense, places = dense[new], self.place_of[dense[new]]
        if dense.shape[0]:
            self._inputs[places] = inputs[new]
            self.vectors.put(dense, by_attributes[new] + self._of_place("learned", places))
            self._kept.clear()  # bags may hold these items

    def _of_place(self, name: str, places: I4) -> F4:
        """The learned part of items, zeros for those that training did not see."""
        learned = self._arrays[name]
        out = np.zeros((places.shape[0], learned.shape[1]), np.float32)
        seen = places < learned.shape[0]
        out[seen] = learned[places[seen]]
        return out

    # ------------------------------------------------------------ shoppers and moments

    def encode(self, window: Window) -> F4:
        """f(X) [dim]."""
        n, arrays = len(window), self._arrays
        bag_weights(window.age_s, window.action, self._share)
        out = np.empty_like(self._bag)
        taste(
            window.place, self._share[:n], self._inputs, arrays["w1"], arrays["b1"], arrays["w2"],
            self._bag, self._hidden, out,
        )  # fmt: skip
        return out

    def at_moment(self, user_vector: F4 | None, interest: Interest) -> F4:
        """f(X) + g(C_t); of a shopper of whom nothing is known, f of an empty bag."""
        row = self._placement_row.get(interest.placement, UNKNOWN)
        self._asked.pop(row, None)
        self._asked[row] = None
        return self._joined(user_vector, interest, row)

    def expected(self, user_vector: F4 | None, interest: Interest) -> list[F4]:
        """One for each of the placements asked last."""
        return [self._joined(user_vector, interest, row) for row in list(self._asked)[-EXPECTED:]]

    def _joined(self, user_vector: F4 | None, interest: Interest, placement_row: int) -> F4:
        arrays = self._arrays
        taste_now = self._none if user_vector is None else user_vector
        moment = arrays["weekday"][weekday_of(interest.t_s)] + arrays["device"][interest.device]
        if interest.hour >= 0:
            moment = moment + arrays["hour"][interest.hour]
        region = self._regions.name(interest.region) if interest.region >= 0 else ""
        moment = moment + arrays["region"][self._region_row.get(region, UNKNOWN)]
        found: F4 = taste_now + moment + arrays["placement"][placement_row]
        return found


def rows_by_name(network: Network, kind: str) -> dict[str, int]:
    """Rows of the regions or placements that training saw."""
    return {name: row for row, name in enumerate(network.meta.get(kind, ())) if row != UNKNOWN}


def taste_of_none(arrays: Arrays) -> F4:
    """f of an empty bag [dim]."""
    found: F4 = (np.maximum(arrays["b1"], 0.0) @ arrays["w2"]).astype(np.float32)
    return found


def checked(network: Network) -> Arrays:
    """The arrays of a network. ``ArtifactError`` unless they fit each other."""
    n, dim = network.vectors.shape
    missing = [name for name in ARRAYS if name not in network.arrays]
    if missing:
        raise ArtifactError(f"the two-tower model lacks {', '.join(missing)}; train again: endcap train two_tower")
    arrays = {name: np.ascontiguousarray(network.arrays[name], np.float32) for name in ARRAYS}
    k = arrays["b1"].shape[0]
    shapes: dict[str, tuple[int, ...]] = {
        "learned": (n, dim), "inputs": (n, dim), "learned_inputs": (n, dim), "text": (TEXT_DIM, dim),
        "table": (HASHED, dim), "w1": (dim, k), "b1": (k,), "w2": (k, dim), "hour": (24, dim),
        "weekday": (WEEKDAYS, dim), "device": (len(DEVICES), dim),
        "region": (1 + len(rows_by_name(network, "regions")), dim),
        "placement": (1 + len(rows_by_name(network, "placements")), dim),
    }  # fmt: skip
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ArtifactError(f"the two-tower model's {name} is {arrays[name].shape}, expected {shape}; train again")
    return arrays
