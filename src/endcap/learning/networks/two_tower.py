"""Training of R = softmax(W X + H A + C_t): the softmax two-tower model (models/two_tower.py says what it means).

    taste    = f(X): the bag of the shopper's behaviours before a moment, weighted as in serving, and one hidden layer
    moment   = g(C_t): vectors of hour, weekday, device, region, placement, summed
    items    = w + H a: learned parts and attributes
    logits   = items . (taste + moment) - log Q, over the right item and some drawn ones (bags.py)

The learned part of an item is hidden in one step of ``1 / HIDE``, so that what attributes say is learned as well
(DropoutNet: Volkovs, Yu, Poutanen, NeurIPS 2017).

Cost: 80,000 interactions ~5 s a pass on two cores. Needs PyTorch; not for: fewer than 500 interactions.
"""

from __future__ import annotations

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
from endcap.models.content import DIM as TEXT_DIM
from endcap.models.network import Network
from endcap.models.two_tower import HASHED, HIDDEN, MATRICES, attributes_of
from endcap.types import DEVICES, Item

RATE = 2e-3
HIDE = 0.1  # share of steps that an item's learned part is hidden in
DROPPED = 0.1  # of the bag's numbers


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
        user = self.users(batch, inputs, at_flat)
        return cross_entropy(user, items[at_right], items[at_drawn], log_q, batch, drawn)

    def users(self, batch: Batch, inputs: Tensor, flat: Tensor) -> Tensor:
        """f(X) + g(C_t) [b, dim]."""
        return self.taste(batch, inputs, flat) + self.moment(batch.context)

    def all_items(self) -> tuple[Tensor, Tensor]:
        """(vectors, inputs) [n, dim]."""
        attributes = self.by_attributes(torch.arange(self.learned.num_embeddings))
        return self.learned.weight + attributes, self.learned_inputs.weight + attributes


def fit(
    lessons: Lessons, how: DeepConfig, meta: dict[str, Any], progress: Progress = silent,
    checkpoints: Path | None = None,
) -> Network:  # fmt: skip
    """Train. Raises ``TooFewExamples`` below ``LEAST`` interactions."""
    found = taken("two_tower", lessons, how)
    torch.manual_seed(how.seed)
    records = [lessons.records[item] for item in found.places]
    net = Towers(len(found.places), records, how.dim, len(found.regions), len(found.placements))
    course = Course(net, found.examples, how, found.counts)
    told = train(
        "two_tower", net, course, how, rate=RATE, mark=course.mark(), progress=progress, checkpoints=checkpoints
    )
    with torch.no_grad():
        vectors, inputs = (part.numpy() for part in net.all_items())
    arrays = {"inputs": inputs, "learned": net.learned.weight, "learned_inputs": net.learned_inputs.weight}
    arrays |= {name: getattr(net, name) for name in MATRICES}
    return Network(
        "two_tower", [lessons.sequences.item_ids[item] for item in found.places], vectors, {},
        {name: np.array(one.detach() if isinstance(one, Tensor) else one) for name, one in arrays.items()},
        {**meta, **told, "regions": found.regions, "placements": found.placements},
    )  # fmt: skip
