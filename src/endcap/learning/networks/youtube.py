"""Training of the candidate network of YouTube's two stages (models/youtube.py says what it means).

Sampled softmax over the next item (bags.py); the past is a plain mean, the age of the example is an input. Held-out
examples are judged with age 0, as requests are.

Cost: 80,000 interactions ~5 s a pass on two cores. Needs PyTorch; not for: fewer than 500 interactions.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from endcap.config import DeepConfig
from endcap.engine import Progress, silent
from endcap.learning.networks import Lessons
from endcap.learning.networks.bags import Batch, Course, cross_entropy, taken
from endcap.learning.networks.fitting import train
from endcap.models.network import Network
from endcap.models.two_tower import WEEKDAYS
from endcap.models.youtube import DAYS, LONGEST, MATRICES, MOMENT, NUMBERS, STEP_S
from endcap.types import DEVICES

RATE = 2e-3
DROPPED = 0.1  # of the mean's numbers
DAY_S = 86_400.0


class Candidates(nn.Module):
    """The network. Names of its parts are those of the artifact."""

    def __init__(self, n_items: int, dim: int) -> None:
        super().__init__()
        self.items, self.past = nn.Embedding(n_items, dim), nn.Embedding(n_items, dim)
        for table in (self.items, self.past):
            nn.init.normal_(table.weight, std=dim**-0.5)
        self.hour, self.weekday, self.device = (
            nn.Parameter(torch.randn(rows, MOMENT) * 0.1) for rows in (24, WEEKDAYS, len(DEVICES))
        )
        sizes = (dim + MOMENT + NUMBERS, 4 * dim, 2 * dim, dim)
        self.w1, self.w2, self.w3 = (
            nn.Parameter(torch.randn(wide, narrow) * (2.0 / wide) ** 0.5) for wide, narrow in pairwise(sizes)
        )
        self.b1, self.b2, self.b3 = (nn.Parameter(torch.zeros(size)) for size in sizes[1:])

    def users(self, batch: Batch, inputs: Tensor, flat: Tensor) -> Tensor:
        """[b, dim]; ``flat`` says which rows of ``inputs`` the bags hold."""
        mean = functional.embedding_bag(flat, inputs, batch.offsets, mode="mean")
        mean = functional.dropout(mean, DROPPED, self.training)
        hour, weekday, device = batch.context[:, 0], batch.context[:, 1], batch.context[:, 2]
        moment = self.hour[hour] + self.weekday[weekday] + self.device[device]
        step = torch.floor(torch.log2(1.0 + batch.since_s / STEP_S))
        r = torch.log1p(STEP_S * (2.0**step - 1.0)) / LONGEST
        a = batch.age_s / (DAYS * DAY_S) if self.training else torch.zeros_like(r)
        numbers = torch.stack((r, r * r, r.sqrt(), a, a.sqrt()), dim=1)
        x = torch.cat((mean, moment, numbers), dim=1)
        x = functional.relu(x @ self.w1 + self.b1)
        x = functional.relu(x @ self.w2 + self.b2)
        return x @ self.w3 + self.b3

    def loss(self, batch: Batch, drawn: Tensor, log_q: Tensor) -> Tensor:
        """The mean loss of a batch."""
        user = self.users(batch, self.past.weight, batch.flat)
        return cross_entropy(user, self.items(batch.right), self.items(drawn), log_q, batch, drawn)

    def all_items(self) -> tuple[Tensor, Tensor]:
        """(vectors, inputs) [n, dim]."""
        return self.items.weight, self.past.weight


def fit(
    lessons: Lessons, how: DeepConfig, meta: dict[str, Any], progress: Progress = silent,
    checkpoints: Path | None = None,
) -> Network:  # fmt: skip
    """Train. Raises ``TooFewExamples``."""
    found = taken("youtube", lessons, how)
    torch.manual_seed(how.seed)
    net = Candidates(len(found.places), how.dim)
    course = Course(net, found.examples, how, found.counts)
    told = train("youtube", net, course, how, rate=RATE, mark=course.mark(), progress=progress, checkpoints=checkpoints)
    arrays = {"inputs": net.past.weight, **{name: getattr(net, name) for name in MATRICES}}
    return Network(
        "youtube", [lessons.sequences.item_ids[item] for item in found.places], net.items.weight.detach().numpy(), {},
        {name: np.array(one.detach()) for name, one in arrays.items()}, {**meta, **told},
    )  # fmt: skip
