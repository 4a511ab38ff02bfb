"""Windows: next-item lessons of the models that read a shopper's last items at once (SASRec, NextItNet).

Idea: a shopper's history is cut, from its end, into windows of at most ``most`` items; every item of a window is asked
for, given those before it, in one pass over the window. Windows of similar length share a batch, filled up on the
right, where a causal network never looks. A position weighs the same in a batch of short windows and in one of long
ones: otherwise long histories hardly count. The softmax is over all items while these are few, else over the right one
and ``NEGATIVES`` drawn evenly, anew for each of ``GROUPS`` parts of a batch (sampled softmax as in Klenitskiy and
Vasilev, RecSys 2023, and eSASRec, RecSys 2025; drawn evenly, a correction would be the same for all, so there is none).

Held out: the last item of the shoppers who were there last. Once these say how many passes are best, a second network
is taught that many on everything, because the newest sequences are worth most.

Layout: ``place`` int32 [rows] by shopper and time; window w holds rows ``begin[w]`` to before ``end[w]``. Cost: the
product of a batch's positions and the items they are compared with. Not for: running sessions of any length, which a
recurrent model reads (gru4rec).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import structs
from torch import Tensor, nn
from torch.nn import functional

from endcap.config import DeepConfig
from endcap.engine import Progress
from endcap.learning.boosting import TooFewExamples
from endcap.learning.networks import Lessons
from endcap.learning.networks.fitting import train
from endcap.learning.sequences import Sequences
from endcap.types import I4, I8

BATCH = 128  # windows
NEGATIVES = 256  # items that one position is compared with, when they are drawn
GROUPS = 16  # parts of a batch with negatives of their own
FULL = 4_096  # items up to which all are compared
SHUFFLED = 64  # batches whose windows are sorted by length together
JUDGED = 0.05  # of shoppers, the newest
MOST_JUDGED = 2_000
AT = 20
LEAST = 500  # interactions
BETAS = (0.9, 0.98)
FAR = -1e9


class Reader(nn.Module):
    """A network that reads windows. ``items`` is what it reads, ``out`` and ``bias`` what it is compared with."""

    items: nn.Embedding
    out: nn.Embedding
    bias: nn.Embedding | None
    dropped: nn.Dropout

    def read(self, places: Tensor, lengths: Tensor) -> Tensor:
        """places [b, n] filled up on the right, lengths [b] -> what follows each position, as vectors [b, n, dim]."""
        raise NotImplementedError

    def last(self, places: Tensor, lengths: Tensor) -> Tensor:
        """What follows each window [b, dim]."""
        found: Tensor = self.read(places, lengths)[torch.arange(places.shape[0]), lengths - 1]
        return found

    def logits(self, user: Tensor, places: Tensor) -> Tensor:
        """user [g, m, dim], places [g, k] -> [g, m, k]."""
        rows = self.dropped(self.out(places))
        scores: Tensor = user @ rows.transpose(1, 2)
        return scores if self.bias is None else scores + self.bias(places).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Windows:
    """What is learned from, and what is held out."""

    place: I4  # [rows]
    begin: I8  # [w]
    end: I8  # [w]
    judged_begin: I8  # [j] what a held-out shopper did: rows to before judged_end
    judged_end: I8  # [j]
    right: I4  # [j] what they did next

    def mark(self) -> bytes:
        """A hash of all of it."""
        columns = (self.place, self.begin, self.end, self.judged_end, self.right)
        return hashlib.blake2b(b"|".join(one.tobytes() for one in columns), digest_size=8).digest()


def windows_of(data: Sequences, place_of: I4, most: int, hold_out: bool) -> Windows:
    """Cut what shoppers did into windows; with ``hold_out``, without the last item of the newest of them."""
    order, ends = data.per(data.user)
    starts = np.concatenate(([0], ends[:-1])).astype(np.int64)
    place = place_of[data.item[order]]
    several = np.flatnonzero(ends - starts >= 2)
    held = np.zeros(0, np.int64)
    if hold_out:
        newest = several[np.argsort(-data.ts_s[order[ends[several] - 1]], kind="stable")]
        held = newest[: min(MOST_JUDGED, round(JUDGED * several.shape[0]))]
    stops = ends.copy()
    stops[held] -= 1
    begin, end = cut(starts, stops, most)
    first = np.maximum(starts[held], stops[held] - most)
    return Windows(place, begin, end, first, stops[held], place[stops[held]])


def cut(starts: I8, stops: I8, most: int) -> tuple[I8, I8]:
    """Windows of ``most`` + 1 rows at most, from the end of each history; the last row of one begins the next."""
    begins, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    while (live := stops - starts >= 2).any():
        starts, stops = starts[live], stops[live]
        begins.append(np.maximum(starts, stops - most - 1))
        ends.append(stops)
        stops = begins[-1] + 1
    return np.concatenate(begins), np.concatenate(ends)


class Course:
    """What the training loop drives."""

    def __init__(self, net: Reader, windows: Windows, seed: int) -> None:
        self.net, self._windows, self._seed = net, windows, seed
        self._n_items = net.out.weight.shape[0]
        self._usual = float((windows.end - windows.begin - 1).sum()) / max(1, len(self))  # positions of a batch
        self._epoch = 0

    def __len__(self) -> int:
        return -(-int(self._windows.begin.shape[0]) // BATCH)

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """The loss of every batch of one pass."""
        rng = np.random.default_rng((self._seed, epoch))
        self._epoch = epoch
        for chosen in self._batches(rng):
            places, lengths = self._padded(self._windows.begin[chosen], self._windows.end[chosen])
            user = self.net.read(places[:, :-1], lengths - 1)
            asked = torch.arange(places.shape[1] - 1)[None, :] < (lengths - 1)[:, None]
            right = places[:, 1:][asked]
            yield self._loss(user[asked], right, rng) * (right.shape[0] / self._usual)

    def _batches(self, rng: np.random.Generator) -> list[I8]:
        """Windows of one pass by batch: of similar length, in random order."""
        order = rng.permutation(self._windows.begin.shape[0])
        length = self._windows.end - self._windows.begin
        found: list[I8] = []
        for first in range(0, order.shape[0], BATCH * SHUFFLED):
            part = order[first : first + BATCH * SHUFFLED]
            part = part[np.argsort(length[part], kind="stable")]
            found += [part[k : k + BATCH] for k in range(0, part.shape[0], BATCH)]
        return [found[k] for k in rng.permutation(len(found))]

    def _padded(self, begin: I8, end: I8) -> tuple[Tensor, Tensor]:
        """Rows of windows [b, longest], and lengths [b]."""
        length = end - begin
        column = np.arange(int(length.max()))
        rows = np.minimum(begin[:, None] + column, (end - 1)[:, None])
        return torch.from_numpy(self._windows.place[rows].astype(np.int64)), torch.from_numpy(length)

    def _loss(self, user: Tensor, right: Tensor, rng: np.random.Generator) -> Tensor:
        """user [m, dim], right [m] -> the mean of -log softmax."""
        if self._n_items <= FULL:
            scores = self.net.logits(user[None], torch.arange(self._n_items)[None])[0]
            return functional.cross_entropy(scores, right)
        size = -(-user.shape[0] // GROUPS)
        filled = size * GROUPS
        spread = torch.arange(filled) % user.shape[0]  # the last part is filled up with rows that do not count
        groups, rights = user[spread].view(GROUPS, size, -1), right[spread].view(GROUPS, size)
        drawn = torch.from_numpy(rng.integers(0, self._n_items, (GROUPS, NEGATIVES)))
        scores = self.net.logits(groups, drawn)
        scores = scores.masked_fill(drawn[:, None, :] == rights[:, :, None], FAR)
        own = self.net.logits(groups.reshape(filled, 1, -1), rights.reshape(filled, 1)).view(GROUPS, size, 1)
        loss = torch.logsumexp(torch.cat((own, scores), dim=2), dim=2) - own[:, :, 0]
        return loss.reshape(-1)[: user.shape[0]].mean()

    def judge(self) -> float:
        """NDCG among the best ``AT`` of all items; without held-out shoppers, the number of passes."""
        held = self._windows
        if not held.right.shape[0]:
            return float(self._epoch)
        total = 0.0
        for part in np.array_split(np.arange(held.right.shape[0]), 1 + held.right.shape[0] // 512):
            places, lengths = self._padded(held.judged_begin[part], held.judged_end[part])
            scores = self.scores(places, lengths)
            right = torch.from_numpy(held.right[part].astype(np.int64))[:, None]
            rank = (scores >= scores.gather(1, right)).sum(dim=1)  # ties count against us
            total += float((1.0 / torch.log2(1.0 + rank))[rank <= AT].sum())
        return total / int(held.right.shape[0])

    def scores(self, places: Tensor, lengths: Tensor) -> Tensor:
        """Of all items after these windows [b, items]."""
        found: Tensor = self.net.last(places, lengths) @ self.net.out.weight.T
        return found if self.net.bias is None else found + self.net.bias.weight[:, 0]


def fit_reader(
    name: str, new: Callable[[int], Reader], rate: float, most: int, lessons: Lessons, how: DeepConfig,
    progress: Progress, checkpoints: Path | None,
) -> tuple[Reader, list[str], dict[str, Any]]:  # fmt: skip
    """Teach a ``new`` network of so many items; gives it, its items, and facts about the training.

    ``TooFewExamples`` below ``LEAST`` interactions.
    """
    data = lessons.sequences
    if len(data) < LEAST:
        raise TooFewExamples(f"{name} needs {LEAST} interactions of known shoppers, there are {len(data)}")
    kept = np.flatnonzero(np.bincount(data.item, minlength=len(data.item_ids)))
    place_of = np.full(len(data.item_ids), -1, np.int32)
    place_of[kept] = np.arange(kept.shape[0], dtype=np.int32)
    told: dict[str, Any] = {}
    for hold_out in (True, False):
        torch.manual_seed(how.seed)
        net, windows = new(kept.shape[0]), windows_of(data, place_of, most, hold_out)
        limits = structs.replace(how, minutes=how.minutes / 2, epochs=max(1, told.get("epochs", how.epochs)))
        steps = torch.optim.Adam(net.parameters(), lr=rate, betas=BETAS)
        found = train(
            name if hold_out else f"{name} on all", net, Course(net, windows, how.seed), limits, rate=rate,
            steps=steps, mark=windows.mark(), progress=progress, checkpoints=checkpoints,
        )  # fmt: skip
        told = found if hold_out else {**told, "seconds": round(told["seconds"] + found["seconds"], 1)}
    return net, [data.item_ids[item] for item in kept.tolist()], told
