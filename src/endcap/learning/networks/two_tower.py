"""Training of R = softmax(W X + H A + C_t): the softmax two-tower model (models/two_tower.py says what it means).

    taste    = f(X): the bag of the shopper's behaviours before a moment, weighted as in serving, and one hidden layer
    moment   = g(C_t): vectors of hour, weekday, device, region, placement, summed
    items    = w + H a: learned parts and attributes
    logits   = items . (taste + moment) - log Q, over the right item and ``NEGATIVES`` drawn ones

Q is the distribution that negatives are drawn from, so that the softmax over a few items is, on average, the one over
all (Bengio and Senecal, 2008; Yi et al., RecSys 2019). The learned part of every item is hidden in one step of
``1 / HIDE``, so that what attributes say is learned as well (DropoutNet, 2017).

Data: every interaction is an example, what its shopper did before is X; of those with nothing before only a few are
kept. Cost: 80,000 interactions ~10 s a pass on two cores. Needs PyTorch; not for: fewer than ``LEAST`` interactions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn
from torch.nn import functional

from endcap.config import DeepConfig
from endcap.engine import Progress, silent
from endcap.learning.boosting import TooFewExamples
from endcap.learning.networks import Lessons
from endcap.learning.networks.fitting import train
from endcap.learning.sequences import Sequences
from endcap.models.content import DIM as TEXT_DIM
from endcap.models.network import Network
from endcap.models.two_tower import HASHED, HIDDEN, MATRICES, TwoTowerSource, attributes_of, bag_weights
from endcap.types import DEVICES, F4, I1, I4, I8, Item

LEAST = 500  # interactions
MOST = TwoTowerSource.most
NEGATIVES = 2_048
FLATTENED = 0.75  # drawn by count to this power
BATCH = 512
RATE = 2e-3
HIDE = 0.1  # share of steps that an item's learned part is hidden in
DROPPED = 0.1  # of the bag's numbers
FIRST_KEPT = 0.1  # of examples without any behaviour before
JUDGED = 0.05  # of shoppers, to know when to stop
MOST_JUDGED = 2_000
AT = 20
MOST_NAMES = 1_000  # regions and placements


@dataclass(frozen=True, slots=True)
class Examples:
    """What shoppers did next, and where what they did before lies: rows ``begin`` to before ``row``."""

    begin: I8  # [e]
    row: I8  # [e] into the columns below, which are in order of shopper, then time
    place: I4  # [n] item, by place among the items of the training
    ts_s: I8  # [n]
    action: I1  # [n]
    context: I4  # [n, 5] hour, weekday, device, region, placement, as rows of their tables
    judged: np.ndarray[Any, np.dtype[np.bool_]]  # [e] held out

    def some(self, which: I8) -> Batch:
        """The examples ``which``, ready for the network."""
        flat, share, lengths = bags(self.begin[which], self.row[which], self.place, self.ts_s, self.action)
        offsets = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
        row = self.row[which]
        return Batch(
            torch.from_numpy(flat), torch.from_numpy(share), torch.from_numpy(offsets),
            torch.from_numpy(self.context[row].astype(np.int64)), torch.from_numpy(self.place[row].astype(np.int64)),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Batch:
    """Bags one behind the other, contexts, and the right items."""

    flat: Tensor  # [behaviours] places
    share: Tensor  # [behaviours]
    offsets: Tensor  # [b]
    context: Tensor  # [b, 5]
    right: Tensor  # [b]


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
        judged[keep],
    )  # fmt: skip


class Towers(nn.Module):
    """The network. Names of its parts are those of the artifact."""

    def __init__(self, n_items: int, records: list[Item | None], dim: int, n_regions: int, n_placements: int) -> None:
        super().__init__()
        self.learned = nn.Embedding(n_items, dim)
        self.learned_inputs = nn.Embedding(n_items, dim)
        self.text = nn.Parameter(torch.randn(TEXT_DIM, dim) / TEXT_DIM**0.5 * 0.1)
        self.table = nn.Parameter(torch.randn(HASHED, dim) * 0.02)
        self.w1 = nn.Parameter(torch.randn(dim, HIDDEN * dim) / dim**0.5)
        self.b1 = nn.Parameter(torch.zeros(HIDDEN * dim))
        self.w2 = nn.Parameter(torch.randn(HIDDEN * dim, dim) * 0.01)
        self.hour, self.weekday, self.device, self.region, self.placement = (
            nn.Parameter(torch.randn(rows, dim) * 0.01) for rows in (24, 7, len(DEVICES), n_regions, n_placements)
        )
        for table in (self.learned, self.learned_inputs):
            nn.init.normal_(table.weight, std=dim**-0.5)
        self._attributes(records)

    def _attributes(self, records: list[Item | None]) -> None:
        """A: what the records of the items say, as constant arrays."""
        texts, rows, share, ends = attributes_of([one or Item(item_id="none") for one in records])
        self.has = torch.from_numpy(np.array([one is not None for one in records]))
        self.texts, self.rows, self.share = torch.from_numpy(texts), rows, share
        self.begins, self.ends = np.concatenate(([0], ends[:-1])), ends

    def by_attributes(self, places: Tensor) -> Tensor:
        """H a [k, dim] of items."""
        if not bool(self.has.any()):
            return torch.zeros(places.shape[0], self.text.shape[1])
        chosen = places.numpy()
        begins, lengths = self.begins[chosen], self.ends[chosen] - self.begins[chosen]
        offsets = np.cumsum(lengths) - lengths
        flat = np.repeat(begins - offsets, lengths) + np.arange(int(lengths.sum()))
        hashed = functional.embedding_bag(
            torch.from_numpy(self.rows[flat].astype(np.int64)), self.table, torch.from_numpy(offsets.astype(np.int64)),
            mode="sum", per_sample_weights=torch.from_numpy(self.share[flat]),
        )  # fmt: skip
        return self.texts[places] @ self.text + hashed

    def taste(self, batch: Batch, inputs: Tensor, flat: Tensor) -> Tensor:
        """f(X) [b, dim]; ``flat`` says which rows of ``inputs`` the bags hold."""
        bag = functional.embedding_bag(flat, inputs, batch.offsets, mode="sum", per_sample_weights=batch.share)
        bag = functional.dropout(bag, DROPPED, self.training)
        return bag + functional.relu(bag @ self.w1 + self.b1) @ self.w2

    def moment(self, context: Tensor) -> Tensor:
        """g(C_t) [b, dim]."""
        tables = (self.hour, self.weekday, self.device, self.region, self.placement)
        return torch.stack([table[context[:, k]] for k, table in enumerate(tables)]).sum(dim=0)

    def loss(self, batch: Batch, drawn: Tensor, log_q: Tensor) -> Tensor:
        """Cross-entropy of the right items among themselves and the ``drawn`` ones, corrected for how they came."""
        places, where = torch.unique(torch.cat((batch.flat, batch.right, drawn)), return_inverse=True)
        n, m = batch.flat.shape[0], batch.flat.shape[0] + batch.right.shape[0]
        at_flat, at_right, at_drawn = where[:n], where[n:m], where[m:]
        attributes = self.by_attributes(places)
        shown = 1.0 - ((torch.rand(places.shape[0]) < HIDE) & self.has[places]).float()[:, None]
        inputs, items = (shown * part(places) + attributes for part in (self.learned_inputs, self.learned))
        user = self.taste(batch, inputs, at_flat) + self.moment(batch.context)
        right = (user * items[at_right]).sum(dim=1) - log_q[batch.right]
        others = user @ items[at_drawn].T - log_q[drawn]
        others = others.masked_fill(batch.right[:, None] == drawn[None, :], -torch.inf)
        return -functional.log_softmax(torch.cat((right[:, None], others), dim=1), dim=1)[:, 0].mean()

    def all_items(self) -> tuple[Tensor, Tensor]:
        """(vectors, inputs) [n, dim]."""
        attributes = self.by_attributes(torch.arange(self.learned.num_embeddings))
        return self.learned.weight + attributes, self.learned_inputs.weight + attributes


class Course:
    """What the training loop drives: batches, their loss, and how good the network is by now."""

    def __init__(self, net: Towers, examples: Examples, how: DeepConfig, counts: I8) -> None:
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
        """Share of held-out examples whose right item is among the best ``AT`` of all."""
        if self._judged.shape[0] == 0:
            return 0.0
        vectors, inputs = self.net.all_items()
        found = 0
        for part in np.array_split(self._judged, 1 + self._judged.shape[0] // BATCH):
            batch = self._examples.some(part)
            user = self.net.taste(batch, inputs, batch.flat) + self.net.moment(batch.context)
            scores = user @ vectors.T
            own = scores.gather(1, batch.right[:, None])
            found += int(((scores > own).sum(dim=1) < AT).sum())
        return found / int(self._judged.shape[0])


def fit(
    lessons: Lessons, how: DeepConfig, meta: dict[str, Any], progress: Progress = silent,
    checkpoints: Path | None = None,
) -> Network:  # fmt: skip
    """Train. Raises ``TooFewExamples`` below ``LEAST`` interactions."""
    data = lessons.sequences
    if len(data) < LEAST:
        raise TooFewExamples(f"two_tower needs {LEAST} interactions of known shoppers, there are {len(data)}")
    counts = np.bincount(data.item, minlength=len(data.item_ids))
    kept = np.flatnonzero(counts)
    place_of = np.full(counts.shape[0], -1, np.int32)
    place_of[kept] = np.arange(kept.shape[0], dtype=np.int32)
    regions, region_names = rows_of(data.region.astype(np.int32), data.regions)
    placements, placement_names = rows_of(data.placement.astype(np.int32), data.placements)
    torch.manual_seed(how.seed)
    records = [lessons.records[item] for item in kept.tolist()]
    net = Towers(kept.shape[0], records, how.dim, len(region_names), len(placement_names))
    course = Course(net, examples_of(data, place_of, regions, placements, how.seed), how, counts[kept])
    steps = torch.optim.Adam(net.parameters(), lr=RATE)
    told = train("two_tower", net, course, how, steps, progress=progress, checkpoints=checkpoints)
    with torch.no_grad():
        vectors, inputs = (part.numpy() for part in net.all_items())
    arrays = {"inputs": inputs, "learned": net.learned.weight, "learned_inputs": net.learned_inputs.weight}
    arrays |= {name: getattr(net, name) for name in MATRICES}
    return Network(
        "two_tower", [data.item_ids[item] for item in kept.tolist()], vectors, {},
        {name: np.array(one.detach() if isinstance(one, Tensor) else one) for name, one in arrays.items()},
        {**meta, **told, "regions": region_names, "placements": placement_names},
    )  # fmt: skip
