"""Bags: examples of what came next, for networks to which the past is a bag of weighted behaviours.

Every interaction is an example: what its shopper did before is the past, the moment it happened in is the context, its
item is the right answer. Of those with nothing before only a few are kept. Networks are taught by a sampled softmax:

    logits = items . user - log Q, over the right item and ``NEGATIVES`` drawn ones

Q is the distribution that negatives are drawn from, so that the softmax over a few items is, on average, the one over
all (Bengio and Senecal, 2008; Yi et al., RecSys 2019).

Cost: a batch of 512 examples ~1 ms to prepare. Not for: networks that read the past in order (windows.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn import functional

from endcap.config import DeepConfig
from endcap.learning.boosting import TooFewExamples
from endcap.learning.networks import Lessons
from endcap.learning.sequences import Sequences
from endcap.models.network import NetworkSource
from endcap.models.two_tower import bag_weights
from endcap.types import F4, I1, I4, I8

LEAST = 500  # interactions
MOST = NetworkSource.most
NEGATIVES = 2_048
FLATTENED = 0.75  # drawn by count to this power
BATCH = 512
FIRST_KEPT = 0.1  # of examples without any behaviour before
JUDGED = 0.05  # of shoppers, to know when to stop
MOST_JUDGED = 2_000
AT = 20
MOST_NAMES = 1_000  # regions and placements
NEVER_S = 2**30  # seconds since the newest behaviour where there is none


@dataclass(frozen=True, slots=True)
class Examples:
    """What shoppers did next, and where what they did before lies: rows ``begin`` to before ``row``."""

    begin: I8  # [e]
    row: I8  # [e] into the columns below, which are in order of shopper, then time
    place: I4  # [n] item, by place among the items of the training
    ts_s: I8  # [n]
    action: I1  # [n]
    context: I4  # [n, 5] hour, weekday, device, region, placement, as rows of their tables
    newest_s: int  # time of the newest interaction
    judged: np.ndarray[Any, np.dtype[np.bool_]]  # [e] held out

    def some(self, which: I8) -> Batch:
        """The examples ``which``, ready for the network."""
        flat, share, lengths = bags(self.begin[which], self.row[which], self.place, self.ts_s, self.action)
        offsets = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
        row = self.row[which]
        since_s = np.where(row > self.begin[which], self.ts_s[row] - self.ts_s[row - 1], NEVER_S)
        age_s = self.newest_s - self.ts_s[row]
        return Batch(
            torch.from_numpy(flat), torch.from_numpy(share), torch.from_numpy(offsets),
            torch.from_numpy(self.context[row].astype(np.int64)), torch.from_numpy(self.place[row].astype(np.int64)),
            torch.from_numpy(since_s.astype(np.float32)), torch.from_numpy(age_s.astype(np.float32)),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Batch:
    """Bags one behind the other, contexts, and the right items."""

    flat: Tensor  # [behaviours] places
    share: Tensor  # [behaviours]
    offsets: Tensor  # [b]
    context: Tensor  # [b, 5]
    right: Tensor  # [b]
    since_s: Tensor  # [b] seconds since the newest behaviour
    age_s: Tensor  # [b] seconds before the newest interaction of all that the example happened


@njit(cache=True, nogil=True)
def bags(begin: I8, row: I8, place: I4, ts_s: I8, action: I1) -> tuple[I8, F4, I8]:
    """(places, shares, lengths): of each example the newest ``MOST`` behaviours before it, weighted as in serving."""
    n = 0
    for e in range(begin.shape[0]):
        n += min(MOST, row[e] - begin[e])
    flat, share = np.empty(n, np.int64), np.empty(n, np.float32)
    lengths = np.empty(begin.shape[0], np.int64)
    age_s = np.empty(MOST, np.int32)
    n = 0
    for e in range(begin.shape[0]):
        first, last = max(begin[e], row[e] - MOST), row[e]
        lengths[e] = last - first
        for k in range(first, last):
            flat[n + k - first] = place[k]
            age_s[k - first] = min(ts_s[last - 1] - ts_s[k], 2**30)
        bag_weights(age_s[: last - first], action[first:last], share[n : n + last - first])
        n += last - first
    return flat, share, lengths


def rows_of(numbers: I4, names: list[str]) -> tuple[I4, list[str]]:
    """Rows by number, 0 = unknown, and the names of the rows in use."""
    used = np.flatnonzero(np.bincount(numbers[numbers >= 0], minlength=1))[: MOST_NAMES - 1] if names else ()
    row_of = np.zeros(len(names) + 1, np.int32)  # the last: -1
    for row, number in enumerate(used, 1):
        row_of[number] = row
    return row_of[numbers], ["", *(names[number] for number in used)]


def examples_of(data: Sequences, place_of: I4, regions: I4, placements: I4, seed: int) -> Examples:
    """Every interaction as an example."""
    order, ends = data.per(data.user)
    begins = np.concatenate(([0], ends[:-1]))
    begin = np.repeat(begins, ends - begins)
    row = np.arange(order.shape[0], dtype=np.int64)
    rng = np.random.default_rng(seed)
    judged_users = rng.random(ends.shape[0]) < JUDGED
    judged = np.repeat(judged_users, ends - begins)
    keep = np.flatnonzero((row > begin) | (rng.random(row.shape[0]) < FIRST_KEPT))
    context = np.stack([np.maximum(data.hour, 0), data.weekday(), data.device, regions, placements], axis=1).astype(
        np.int32
    )
    return Examples(
        begin[keep], row[keep], place_of[data.item[order]], data.ts_s[order], data.action[order], context[order],
        int(data.ts_s.max(initial=0)), judged[keep],
    )  # fmt: skip


class Taught(Protocol):
    """A network that is taught by bags."""

    def loss(self, batch: Batch, drawn: Tensor, log_q: Tensor) -> Tensor:
        """The mean loss of a batch."""
        ...

    def all_items(self) -> tuple[Tensor, Tensor]:
        """(vectors, inputs) [n, dim]."""
        ...

    def users(self, batch: Batch, inputs: Tensor, flat: Tensor) -> Tensor:
        """[b, dim]; ``flat`` says which rows of ``inputs`` the bags hold."""
        ...


def cross_entropy(users: Tensor, right: Tensor, others: Tensor, log_q: Tensor, batch: Batch, drawn: Tensor) -> Tensor:
    """Of the right items [b, dim] among themselves and the ``drawn`` ones [k, dim], corrected for how they came."""
    own = (users * right).sum(dim=1) - log_q[batch.right]
    rest = users @ others.T - log_q[drawn]
    rest = rest.masked_fill(batch.right[:, None] == drawn[None, :], -torch.inf)
    return -functional.log_softmax(torch.cat((own[:, None], rest), dim=1), dim=1)[:, 0].mean()


@dataclass(frozen=True, slots=True)
class Taken:
    """What of the lessons a network learns from."""

    places: list[int]  # the items that somebody touched
    counts: I8  # of each
    examples: Examples
    regions: list[str]  # by row
    placements: list[str]


def taken(model: str, lessons: Lessons, how: DeepConfig) -> Taken:
    """Lessons as examples. Raises ``TooFewExamples`` below ``LEAST`` interactions."""
    data = lessons.sequences
    if len(data) < LEAST:
        raise TooFewExamples(f"{model} needs {LEAST} interactions of known shoppers, there are {len(data)}")
    counts = np.bincount(data.item, minlength=len(data.item_ids))
    kept = np.flatnonzero(counts)
    place_of = np.full(counts.shape[0], -1, np.int32)
    place_of[kept] = np.arange(kept.shape[0], dtype=np.int32)
    regions, region_names = rows_of(data.region.astype(np.int32), data.regions)
    placements, placement_names = rows_of(data.placement.astype(np.int32), data.placements)
    examples = examples_of(data, place_of, regions, placements, how.seed)
    return Taken(kept.tolist(), counts[kept], examples, region_names, placement_names)


class Course:
    """What the training loop drives: batches, their loss, and how good the network is by now."""

    def __init__(self, net: Taught, examples: Examples, how: DeepConfig, counts: I8) -> None:
        self.net, self._examples = net, examples
        self._seed = how.seed
        self._learned = np.flatnonzero(~examples.judged)
        judged = np.flatnonzero(examples.judged & (examples.row > examples.begin))
        self._judged = np.random.default_rng(how.seed).permutation(judged)[:MOST_JUDGED]
        odds = counts.astype(np.float64) ** FLATTENED
        self._odds = np.cumsum(odds / odds.sum())
        self._log_q = torch.from_numpy(np.log(odds / odds.sum() * NEGATIVES).astype(np.float32))

    def __len__(self) -> int:
        return -(-self._learned.shape[0] // BATCH)

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """The loss of every batch of one pass."""
        rng = np.random.default_rng((self._seed, epoch))
        order = rng.permutation(self._learned)
        for first in range(0, order.shape[0], BATCH):
            drawn = np.minimum(np.searchsorted(self._odds, rng.random(NEGATIVES)), self._odds.shape[0] - 1)
            batch = self._examples.some(order[first : first + BATCH])
            yield self.net.loss(batch, torch.from_numpy(drawn.astype(np.int64)), self._log_q)

    def mark(self) -> bytes:
        """What is taught."""
        of = self._examples
        return hashlib.blake2b(of.place.tobytes() + of.row.tobytes() + of.ts_s.tobytes(), digest_size=8).digest()

    def judge(self) -> float:
        """NDCG@20 of held-out examples over all items: finer than a hit rate, which small catalogues saturate."""
        if self._judged.shape[0] == 0:
            return 0.0
        vectors, inputs = self.net.all_items()
        found = 0.0
        for part in np.array_split(self._judged, 1 + self._judged.shape[0] // BATCH):
            batch = self._examples.some(part)
            scores = self.net.users(batch, inputs, batch.flat) @ vectors.T
            rank = (scores > scores.gather(1, batch.right[:, None])).sum(dim=1)
            found += float(torch.where(rank < AT, 1.0 / torch.log2(rank + 2.0), 0.0).sum())
        return found / int(self._judged.shape[0])
