"""Training of GRU4Rec (models/gru4rec.py), faithful to its authors.

Idea: sessions in order of time, ``BATCH`` of them side by side, one event of each per step; when one ends the next
takes its place with an empty state, and the states of the others are carried on (Hidasi et al., ICLR 2016). Each step's
right items are wrong ones for the other sessions, ``NEGATIVES`` more are drawn by count ^ ``ALPHA``, and cross-entropy
over them is corrected by log Q (Hidasi and Karatzoglou, CIKM 2018). Items are read and scored by the same vectors;
Adagrad; dropout on the state that scores and is carried on, none when serving. What ports of it get wrong is listed in
Hidasi and Czapp (RecSys 2023).

Held out: the newest sessions; then a second network is taught the best number of passes on everything.

The gradient goes back one event, as in
the authors' code: what lies before is known by the state alone. Not for: shoppers seen once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import structs
from torch import Tensor, nn
from torch.nn import functional

from endcap.config import DeepConfig
from endcap.engine import Progress, silent
from endcap.learning.boosting import TooFewExamples
from endcap.learning.networks import Lessons
from endcap.learning.networks.fitting import train
from endcap.learning.sequences import Sequences
from endcap.models.network import Network
from endcap.types import F8, I4, I8

LEAST = 500  # interactions
BATCH = 48  # sessions side by side
NEGATIVES = 2_048
ALPHA = 0.2
LOG_Q = 1.0  # share of the correction
DROPPED = 0.2  # of the state
RATE = 0.07
JUDGED = 0.05  # of sessions, the newest
MOST_JUDGED = 2_000
AT = 20


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions of two items or more, by time of their start: rows ``begin`` to before ``end`` of ``place``."""

    place: I4  # [rows]
    begin: I8  # [s]
    end: I8  # [s]
    n_judged: int  # of them, the last

    def mark(self) -> bytes:
        """A hash of all of it."""
        columns = (self.place, self.begin, self.end)
        return hashlib.blake2b(b"|".join(one.tobytes() for one in columns), digest_size=8).digest()


def sessions_of(data: Sequences, place_of: I4, hold_out: bool) -> Sessions:
    """The sessions of the data; with ``hold_out`` the newest are not learned from."""
    order, ends = data.per(data.session)
    starts = np.concatenate(([0], ends[:-1])).astype(np.int64)
    several = np.flatnonzero(ends - starts >= 2)
    by_time = several[np.argsort(data.ts_s[order[starts[several]]], kind="stable")]
    n_judged = min(MOST_JUDGED, round(JUDGED * by_time.shape[0])) if hold_out else 0
    return Sessions(place_of[data.item[order]], starts[by_time], ends[by_time], n_judged)


class Gru4Rec(nn.Module):
    """The network."""

    def __init__(self, n_items: int, dim: int, dropped: float = DROPPED) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, dim, sparse=True)
        self.bias = nn.Embedding(n_items, 1, sparse=True)
        self.cell = nn.GRUCell(dim, dim)
        self.dropped = nn.Dropout(dropped)
        for weights, rows in ((self.items.weight, n_items), (self.cell.weight_ih, dim), (self.cell.weight_hh, dim)):
            widest = (6.0 / (rows + dim)) ** 0.5
            nn.init.uniform_(weights, -widest, widest)
        for bias in (self.bias.weight, self.cell.bias_ih, self.cell.bias_hh):
            nn.init.zeros_(bias)

    def step(self, places: Tensor, state: Tensor) -> Tensor:
        """places [b], state [b, dim] -> the state after reading them."""
        found: Tensor = self.dropped(self.cell(self.items(places), state))
        return found

    def logits(self, state: Tensor, places: Tensor) -> Tensor:
        """state [b, dim], places [k] -> [b, k]."""
        found: Tensor = state @ self.items(places).T + self.bias(places).T
        return found


class Course:
    """What the training loop drives."""

    def __init__(self, net: Gru4Rec, sessions: Sessions, seed: int) -> None:
        self.net, self._seed, self._epoch = net, seed, 0
        self._sessions = sessions
        self._learned = np.arange(sessions.begin.shape[0] - sessions.n_judged)
        n_items = net.items.weight.shape[0]
        rows = [sessions.place[a:b] for a, b in zip(sessions.begin, sessions.end, strict=True)]
        counts: F8 = np.bincount(np.concatenate(rows[: self._learned.shape[0]]), minlength=n_items).astype(np.float64)
        flat = counts**ALPHA * (counts > 0)
        self._odds = np.cumsum(flat / flat.sum())
        self._log_q = torch.from_numpy(np.log(np.maximum(counts, 1.0)).astype(np.float32))
        self._n_steps = sum(1 for _ in self._steps())

    def __len__(self) -> int:
        return self._n_steps

    def _steps(self) -> Iterator[tuple[I8, I8]]:
        """By step: rows read [b], and where each session stood in the step before [b], -1 = it begins here.

        The row after each is the right one. A session keeps its place until it ends; then the next one takes it.
        """
        begin, end = self._sessions.begin[self._learned], self._sessions.end[self._learned]
        n = begin.shape[0]
        holder = np.arange(min(BATCH, n))
        following = holder.shape[0]
        row, came = begin[holder], np.full(holder.shape[0], -1, np.int64)
        while holder.shape[0]:
            yield row, came
            row, came = row + 1, np.arange(holder.shape[0])
            done = np.flatnonzero(row >= end[holder] - 1)
            fresh = done[: max(0, n - following)]
            holder[fresh] = np.arange(following, following + fresh.shape[0])
            following += fresh.shape[0]
            row[fresh], came[fresh] = begin[holder[fresh]], -1
            left = np.delete(np.arange(holder.shape[0]), done[fresh.shape[0] :])
            holder, row, came = holder[left], row[left], came[left]

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """The loss of every step of one pass."""
        rng = np.random.default_rng((self._seed, epoch))
        self._epoch = epoch
        place = torch.from_numpy(self._sessions.place.astype(np.int64))
        state = torch.zeros(BATCH, self.net.cell.hidden_size)
        for row, came in self._steps():
            begins = torch.from_numpy(came < 0)[:, None]
            state = state.detach()[torch.from_numpy(np.maximum(came, 0))].masked_fill(begins, 0.0)
            state = self.net.step(place[row], state)
            right = place[row + 1]
            drawn = np.minimum(np.searchsorted(self._odds, rng.random(NEGATIVES)), self._odds.shape[0] - 1)
            wrong = torch.from_numpy(drawn)
            scores = self.net.logits(state, torch.cat((right, wrong)))
            scores = scores - LOG_Q * torch.cat((self._log_q[right], ALPHA * self._log_q[wrong]))
            yield functional.cross_entropy(scores, torch.arange(row.shape[0]), reduction="sum") / BATCH

    def judge(self) -> float:
        """MRR among the best ``AT`` of all items at every event of held-out sessions; without any, the passes."""
        sessions = self._sessions
        if not sessions.n_judged:
            return float(self._epoch)
        total, n = 0.0, 0
        begin, end = sessions.begin[-sessions.n_judged :], sessions.end[-sessions.n_judged :]
        for ranks, _ in ranks_in(self.net, sessions.place, begin, end):
            total += float((1.0 / ranks)[ranks <= AT].sum())
            n += ranks.shape[0]
        return total / n


def ranks_in(net: Gru4Rec, place: I4, begin: I8, end: I8) -> Iterator[tuple[Tensor, I8]]:
    """By step: ranks of what came next among all items, and its rows; ties count against the network."""
    order = np.argsort(begin - end, kind="stable")  # the longest first, so that those that go on stand in front
    begin, end = begin[order], end[order]
    places = torch.from_numpy(place.astype(np.int64))
    for part in np.array_split(np.arange(begin.shape[0]), 1 + begin.shape[0] // 512):
        state = torch.zeros(part.shape[0], net.cell.hidden_size)
        for k in range(int((end - begin)[part].max()) - 1):
            going = part[(end - begin)[part] > k + 1]
            state = net.step(places[begin[going] + k], state[: going.shape[0]])
            scores = state @ net.items.weight.T + net.bias.weight[:, 0]
            right = places[begin[going] + k + 1][:, None]
            yield (scores >= scores.gather(1, right)).sum(dim=1), begin[going] + k + 1


def taught(
    sessions: Sessions, n_items: int, how: DeepConfig, name: str = "gru4rec", progress: Progress = silent,
    checkpoints: Path | None = None, dropped: float = DROPPED, rate: float = RATE,
) -> tuple[Gru4Rec, dict[str, Any]]:  # fmt: skip
    """A network that has learned these sessions, and facts about it."""
    torch.manual_seed(how.seed)
    torch.sparse.check_sparse_tensor_invariants.disable()
    net = Gru4Rec(n_items, how.dim, dropped)
    steps = torch.optim.Adagrad(net.parameters(), lr=rate, eps=1e-6)
    told = train(
        name, net, Course(net, sessions, how.seed), how, rate=rate, steps=steps, clip=0.0, mark=sessions.mark(),
        progress=progress, checkpoints=checkpoints,
    )  # fmt: skip
    return net, told


def network_of(net: Gru4Rec, item_ids: list[str], meta: dict[str, Any]) -> Network:
    """What serves."""
    vectors = torch.cat((net.items.weight, net.bias.weight), dim=1).detach().numpy()
    weights = {"w_x": net.cell.weight_ih, "w_h": net.cell.weight_hh, "b_x": net.cell.bias_ih, "b_h": net.cell.bias_hh}
    arrays = {name: one.detach().numpy().copy() for name, one in weights.items()}
    return Network("gru4rec", item_ids, vectors, {}, arrays, meta)


def fit(
    lessons: Lessons, how: DeepConfig, meta: dict[str, Any], progress: Progress = silent,
    checkpoints: Path | None = None,
) -> Network:  # fmt: skip
    """Train. Raises ``TooFewExamples`` below ``LEAST`` interactions."""
    data = lessons.sequences
    if len(data) < LEAST:
        raise TooFewExamples(f"gru4rec needs {LEAST} interactions of known shoppers, there are {len(data)}")
    kept = np.flatnonzero(np.bincount(data.item, minlength=len(data.item_ids)))
    place_of = np.full(len(data.item_ids), -1, np.int32)
    place_of[kept] = np.arange(kept.shape[0], dtype=np.int32)
    half = structs.replace(how, minutes=how.minutes / 2)
    _, told = taught(sessions_of(data, place_of, True), kept.shape[0], half, "gru4rec", progress, checkpoints)
    half = structs.replace(half, epochs=max(1, told["epochs"]))
    net, again = taught(
        sessions_of(data, place_of, False), kept.shape[0], half, "gru4rec on all", progress, checkpoints
    )  # fmt: skip
    told["seconds"] = round(told["seconds"] + again["seconds"], 1)
    return network_of(net, [data.item_ids[item] for item in kept.tolist()], {**meta, **told})
