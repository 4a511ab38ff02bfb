"""Fill a state with synthetic traffic, quickly: columns are folded directly, without a log and without JSON.

Dense user k is called ``u{k}`` and dense item k ``i{k}``, so that any part can ask for a known shopper by name.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from endcap.batches import EventBatch
from endcap.bench import synthetic
from endcap.state import State

CHUNK = 100_000


def traffic(n_events: int, n_items: int, n_users: int, newest_ms: int, seed: int = synthetic.SEED) -> EventBatch:
    """Two weeks of events, the newest at ``newest_ms``, so that decayed state is alive now."""
    batch = synthetic.events(n_events, n_items, n_users, seed)
    return replace(batch, ts=batch.ts + (newest_ms - int(batch.ts[-1])))


def intern_names(state: State, n_items: int, n_users: int) -> None:
    """Give every item and user its name, in dense order."""
    for k in range(n_users):
        state.users.intern(f"uu{k}")  # "u" + the user id
    for k in range(n_items):
        state.items.intern(f"i{k}")
    for k in range(synthetic.N_REGIONS):
        state.regions.intern(f"r{k}")


def fill(state: State, batch: EventBatch, n_items: int, n_users: int) -> None:
    """Names, leaf categories, then the events in chunks."""
    intern_names(state, n_items, n_users)
    state._make_room()
    for start in range(0, len(batch), CHUNK):
        state.learn(synthetic.part(batch, start, start + CHUNK))


def sessions_for(n_items: int) -> tuple[int, int]:
    """(events, users) of a shop with that many items: about 20 events an item up to 5.3 million, 1 user per 12."""
    n_events = int(np.clip(20 * n_items, 400_000, 5_300_000))
    return n_events, max(10_000, n_events // 12)
