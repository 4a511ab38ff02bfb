"""Training of the ranking network of YouTube's two stages: weighted logistic regression on feature rows.

Idea: a right candidate counts as often as it is worth (its reward), every other once. The odds that the network learns
are then the expected reward of a candidate, and ordering by them is ordering by value (Covington, Adams, Sargin, RecSys
2016, with watch time for the reward). Two hidden layers; a feature enters as it stands, scaled, and as its square root,
which is how the paper lets a network bend a feature without more layers.

    rows -> what a request's candidates teach the trees as well (learning/examples.py) -> network -> ONNX, a ranker for
    models/plugged.py, judged by the same gate

Cost: 12,000 requests of 50 rows and 170 columns ~4 s a pass on two cores. Needs PyTorch; not for: a handful of
examples, from which trees learn more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from endcap.config import DeepConfig
from endcap.engine import Progress, silent
from endcap.learning.boosting import TooFewExamples
from endcap.learning.examples import Table
from endcap.learning.gate import mean, ndcg, weights_of
from endcap.learning.networks.fitting import train
from endcap.learning.networks.graphs import INPUT, Graph
from endcap.models.plugged import OnnxGraph
from endcap.types import F4, F8

LEAST = 200  # requests
RATE = 1e-3
BATCH = 2_048  # rows
WIDE, NARROW = 96, 48
JUDGED = 0.1  # of the requests, the newest, to know when to stop
FAR = 5.0  # standard deviations; what is further out counts as that
CERTAIN = 15.0  # largest logit: odds of three million
SPREAD = 1e-3  # least standard deviation


class Ranking(nn.Module):
    """Scaled rows and their square roots -> logits."""

    centre: Tensor  # [columns]
    spread: Tensor  # [columns]

    def __init__(self, rows: F4) -> None:
        super().__init__()
        self.register_buffer("centre", torch.from_numpy(rows.mean(axis=0)))
        self.register_buffer("spread", torch.from_numpy(np.maximum(rows.std(axis=0), SPREAD)))
        self.first = nn.Linear(2 * rows.shape[1], WIDE)
        self.second = nn.Linear(WIDE, NARROW)
        self.last = nn.Linear(NARROW, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """rows [n, columns] -> logits [n]."""
        x = ((rows - self.centre) / self.spread).clamp(-FAR, FAR)
        x = torch.cat((x, x.abs().sqrt() * x.sign()), dim=1)
        x = functional.relu(self.second(functional.relu(self.first(x))))
        found: Tensor = self.last(x)[:, 0]
        return found

    def graph(self) -> bytes:
        """The network as ONNX that gives odds, the expected value [n]."""
        graph = Graph()

        def number(value: float) -> str:
            return graph.constant(np.array(value, np.float32))

        x = graph.op("Div", graph.op("Sub", INPUT, graph.constant(self.centre)), graph.constant(self.spread))
        x = graph.op("Clip", x, number(-FAR), number(FAR))
        root = graph.op("Mul", graph.op("Sqrt", graph.op("Abs", x)), graph.op("Sign", x))
        x = graph.op("Concat", x, root, axis=1)
        for layer in (self.first, self.second):
            x = graph.op("Relu", graph.linear(x, layer))
        x = graph.op("Clip", graph.flat(graph.linear(x, self.last)), number(-CERTAIN), number(CERTAIN))
        return graph.encoded(graph.op("Exp", x), int(self.centre.shape[0]))


class Course:
    """What the training loop drives."""

    def __init__(self, net: Ranking, rows: F4, gains: F4, table: Table, how: DeepConfig) -> None:
        """``rows`` are those of ``table`` without NaN, ``gains`` the reward of each."""
        self.net, self._seed = net, how.seed
        n_learned = len(table) - max(1, round(JUDGED * len(table)))
        ends = np.cumsum(table.sizes)
        self._cut = int(ends[n_learned - 1])
        weights = table.row_weights()
        self._rows, self._gains = torch.from_numpy(rows), torch.from_numpy(gains)
        self._weights = torch.ones(rows.shape[0]) if weights is None else torch.from_numpy(weights)
        self._unseen = table.part(np.arange(len(table)) >= n_learned)
        self._unseen_gains: F8 = gains[self._cut :].astype(np.float64)

    def __len__(self) -> int:
        return -(-self._cut // BATCH)

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """The loss of every batch of one pass."""
        order = torch.from_numpy(np.random.default_rng((self._seed, epoch)).permutation(self._cut))
        for chosen in order.split(BATCH):
            logits, gain = self.net(self._rows[chosen]), self._gains[chosen]
            right = (gain > 0.0).float()
            weight = self._weights[chosen] * torch.where(gain > 0.0, gain, torch.ones_like(gain))
            yield functional.binary_cross_entropy_with_logits(logits, right, weight)

    def judge(self) -> float:
        """NDCG@20 of the newest requests, as the gate computes it."""
        scores: F8 = self.net(self._rows[self._cut :]).numpy().astype(np.float64)
        found = ndcg(scores, self._unseen_gains, self._unseen)
        return mean(found, weights_of(self._unseen_gains, self._unseen))

    def mark(self) -> bytes:
        """What is taught, as a few bytes."""
        return hashlib.blake2b(self._gains.numpy().tobytes(), digest_size=8).digest()


def fit_ranking(
    table: Table, columns: Sequence[str], rewards: Sequence[float], how: DeepConfig, progress: Progress = silent,
    checkpoints: Path | None = None,
) -> tuple[OnnxGraph, dict[str, Any]]:  # fmt: skip
    """Train on requests whose rows have these ``columns``; ``rewards`` by objective. Gives the ranker and its facts.

    Raises ``TooFewExamples`` below ``LEAST`` requests.
    """
    if len(table) < LEAST:
        raise TooFewExamples(f"a ranking network needs {LEAST} requests with a right answer, there are {len(table)}")
    rows: F4 = np.nan_to_num(table.rows, nan=0.0, posinf=0.0, neginf=0.0)  # as models/plugged.py serves them
    gains: F4 = (table.labels.astype(np.float64) @ np.array(rewards, np.float64)).astype(np.float32)
    torch.manual_seed(how.seed)
    net = Ranking(rows)
    course = Course(net, rows, gains, table, how)
    told = train("ranking", net, course, how, rate=RATE, mark=course.mark(), progress=progress, checkpoints=checkpoints)
    return OnnxGraph(net.graph(), tuple(columns)), told
