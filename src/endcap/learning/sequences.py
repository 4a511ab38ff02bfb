"""Sequences: what a log's shoppers did, in order, as columns for the trainers of deep models.

Idea: the rows are those that the state itself learned from, noted while it folds (``NotedState``). So cleaning,
sessions, identity and the numbering of items are the ones of serving, and there is no second way to read a log.

Cost: 34 bytes per event kept. Not for: serving, which reads rings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from endcap.batches import UNCLEAN, EventBatch
from endcap.config import Config
from endcap.features.histories import Trail
from endcap.state import State
from endcap.types import ACTION_WEIGHT, I1, I2, I4, I8, Arrays

COLUMNS: dict[str, Any] = {
    "user": np.int32, "item": np.int32, "action": np.int8, "ts_s": np.int64, "session": np.int32, "hour": np.int8,
    "device": np.int8, "region": np.int16, "placement": np.int16,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sequences:
    """Positive clean interactions of known shoppers, in order of time (ties: of the log). Numbers are dense."""

    user: I4  # [n]
    item: I4  # [n] below len(item_ids)
    action: I1  # [n]
    ts_s: I8  # [n] epoch seconds
    session: I4  # [n] number of the session, by time of start
    hour: I1  # [n] local hour
    device: I1  # [n] code in DEVICES
    region: I2  # [n] interned, -1 = none
    placement: I2  # [n] interned placement of the slate it came from, -1 = none
    item_ids: list[str]
    regions: list[str]  # names of the numbers
    placements: list[str]

    def __len__(self) -> int:
        return int(self.user.shape[0])

    def weekday(self) -> I1:
        """[n] 0 = Monday, by UTC."""
        return ((self.ts_s // 86_400 + 3) % 7).astype(np.int8)

    def per(self, column: I4) -> tuple[NDArray[np.int64], I8]:
        """(order, ends): rows grouped by a column (``user`` or ``session``), each group in order of time.

        Group g is order[ends[g-1]:ends[g]]; groups in order of the column's value, empty ones left out.
        """
        order = np.argsort(column, kind="stable")
        cuts = np.flatnonzero(np.diff(column[order])) + 1
        return order, np.append(cuts, order.shape[0]).astype(np.int64)


class NotedState(State):
    """A state that notes what it learns from."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._noted: list[Arrays] = []

    def learn_own(self, raw: EventBatch) -> tuple[EventBatch, Trail]:
        """As ever, and the rows are noted."""
        batch, trail = super().learn_own(raw)
        keep = np.flatnonzero(
            (batch.user >= 0) & (batch.item >= 0) & (ACTION_WEIGHT[batch.action] > 0.0) & ((batch.flags & UNCLEAN) == 0)
        )
        placement = batch.claims.placement if batch.claims is not None else np.full(len(batch), -1, np.int16)
        found: Arrays = {
            "user": batch.user, "item": batch.item, "action": batch.action, "ts_s": batch.ts // 1000,
            "session": batch.session, "hour": batch.hour, "device": batch.device, "region": batch.region,
            "placement": np.maximum(placement, -1),
        }  # fmt: skip
        self._noted.append({name: found[name][keep].astype(COLUMNS[name]) for name in COLUMNS})
        return batch, trail

    def sequences(self, most: int) -> Sequences:
        """The newest ``most`` rows; anonymous visitors count as who they turned out to be."""
        joined: Arrays = {
            name: np.concatenate([part[name] for part in self._noted]) if self._noted else np.zeros(0, kind)
            for name, kind in COLUMNS.items()
        }
        self._noted = [joined]
        people = np.unique(joined["user"])
        resolved = np.array([self.identity.resolve(int(one)) for one in people], np.int32)
        user = resolved[np.searchsorted(people, joined["user"])] if people.shape[0] else joined["user"]
        order = np.argsort(joined["ts_s"], kind="stable")[-most:]
        found: Arrays = {**joined, "user": user}
        names = [self.items.name(item) for item in range(len(self.items))]
        labels = [self.labels.name(label).removeprefix("placement:") for label in range(len(self.labels))]
        return Sequences(
            **{name: column[order] for name, column in found.items()}, item_ids=names, placements=labels,
            regions=[self.regions.name(region) for region in range(len(self.regions))],
        )  # fmt: skip
