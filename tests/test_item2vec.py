"""Item2vec: its steps against plain NumPy, its laws, and what it proposes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endcap.config import Config, LogConfig, PlacementConfig, asked, shop_placements
from endcap.engine import Engine
from endcap.models.item2vec import DIM, GAP_S, NEGATIVES, RATE, RING, WINDOW, Item2vec, mixed
from endcap.runtime import Runtime, VirtualClock
from endcap.state import State
from endcap.types import F4, I2, I4, Event, Interaction, Stored
from proposals import batch_of, interest_of, order_of, proposed
from streams import streams

NOBODY = batch_of([])
PLAIN = Config(log=LogConfig(durability="os"))
ASKED = Config(
    log=LogConfig(durability="os"),
    placements={
        **shop_placements(),
        "drift": PlacementConfig(sources=["covisit"], arms={"new": {"sources": ["item2vec"]}}),
    },
)
N_ITEMS = 9


@dataclass(frozen=True)
class Trail:
    earlier: I4
    later: I4
    gap_s: I4
    distance: I2


def trail(pairs: list[tuple[int, int, int, int]]) -> Trail:
    table = np.array(pairs, np.int64).reshape(-1, 4)
    return Trail(*(table[:, k].astype(np.int32) for k in range(3)), table[:, 3].astype(np.int16))


def model(n_items: int = N_ITEMS) -> Item2vec:
    made = Item2vec()
    made.grow(0, n_items)
    return made


pairs_of_items = st.lists(
    st.tuples(
        st.integers(0, N_ITEMS - 1), st.integers(0, N_ITEMS - 1), st.sampled_from([0, 60, GAP_S, GAP_S + 1]),
        st.integers(1, WINDOW + 1),
    ).filter(lambda pair: pair[0] != pair[1]),
    max_size=40,
)  # fmt: skip


def plain(pairs: list[tuple[int, int, int, int]]) -> tuple[F4, F4]:
    """The same, written down."""
    inward, outward = np.zeros((N_ITEMS, DIM)), np.zeros((N_ITEMS, DIM))
    ring: list[int] = []
    steps = 0
    for earlier, later, gap_s, distance in pairs:
        if gap_s > GAP_S or distance > WINDOW:
            continue
        rate = RATE * (WINDOW + 1 - distance) / WINDOW
        for a, b in ((earlier, later), (later, earlier)):
            if not inward[a].any():
                inward[a] = [(mixed(steps * 2**20 + d) % 65_536 / 65_536 - 0.5) / DIM for d in range(DIM)]
            asked = [(b, 1.0)]
            for k in range(NEGATIVES if ring else 0):
                c = ring[mixed(steps * NEGATIVES + k) % len(ring)]
                asked += [(c, 0.0)] if c not in (a, b) else []
            moved = np.zeros(DIM)
            for c, wanted in asked:
                step = (wanted - 1.0 / (1.0 + np.exp(-inward[a] @ outward[c]))) * rate
                moved += step * outward[c]
                outward[c] += step * inward[a]
            inward[a] += moved
            steps += 1
        if distance == 1:
            ring.append(later)
    return inward.astype(np.float32), outward.astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(pairs_of_items)
def test_steps_are_those_of_skip_gram_with_negative_sampling(pairs: list[tuple[int, int, int, int]]) -> None:
    made = model()
    made.fold(NOBODY, trail(pairs))
    inward, outward = plain(pairs)
    np.testing.assert_allclose(made.inward[:N_ITEMS], inward, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(made.outward[:N_ITEMS], outward, rtol=1e-4, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(pairs_of_items, st.integers(0, 40), st.integers(0, 40))
def test_any_batching_and_a_snapshot_in_between_give_the_same_bytes(
    pairs: list[tuple[int, int, int, int]], cut: int, other: int
) -> None:
    whole, parts = model(), model()
    whole.fold(NOBODY, trail(pairs))
    parts.fold(NOBODY, trail(pairs[:cut]))
    restored = Item2vec()
    restored.load({name: array.copy() for name, array in parts.arrays(0, N_ITEMS).items()})
    for part in (pairs[cut : cut + other], pairs[cut + other :]):
        restored.grow(0, N_ITEMS + 5_000)
        restored.fold(NOBODY, trail(part))
    for name, array in whole.arrays(0, N_ITEMS).items():
        assert restored.arrays(0, N_ITEMS)[name].tobytes() == array.tobytes(), name


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=streams(), seed=st.integers(0, 2**16))
def test_offsets_and_duplicate_free_batches_do_not_matter(events: list[Event], seed: int) -> None:
    """A log from which events of others were erased has gaps; replay cuts it anywhere."""
    rng = np.random.default_rng(seed)
    dense, gaps = State(ASKED), State(ASKED)
    dense.fold([Stored(k + 1, event) for k, event in enumerate(events)])
    place, offset = 0, 0
    while place < len(events):
        size = int(rng.integers(1, 9))
        part = []
        for event in events[place : place + size]:
            offset += int(rng.integers(1, 50))
            part.append(Stored(offset, msgspec.structs.replace(event)))
        gaps.fold(part)
        place += size
    n = len(dense.items)
    for name, array in dense.item2vec.arrays(0, n).items():
        assert gaps.item2vec.arrays(0, n)[name].tobytes() == array.tobytes(), name


def walks(groups: list[list[int]], n: int, seed: int = 0) -> list[tuple[int, int, int, int]]:
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(n):
        a, b = rng.choice(groups[int(rng.integers(0, len(groups)))], 2, replace=False)
        pairs.append((int(a), int(b), 30, 1))
    return pairs


def test_items_touched_together_are_proposed_for_each_other_and_seeds_are_not() -> None:
    made = model(40)
    made.fold(NOBODY, trail(walks([list(range(20)), list(range(20, 40))], 6_000)))
    for half in (0, 20):
        got = proposed(made, interest_of([half, half + 1]), 40, n=18)
        assert set(order_of(got)) == set(range(half + 2, half + 20))
        assert all(0.0 < score <= 1.0001 for score, _ in got.values())
        assert {seed for _, seed in got.values()} <= {0, 1}


def test_vectors_follow_a_taste_that_drifts() -> None:
    made = model(20)
    made.fold(NOBODY, trail(walks([list(range(10)), list(range(10, 20))], 3_000)))
    assert set(order_of(proposed(made, interest_of([0]), 20, n=4))) <= set(range(1, 10))
    even, odd = list(range(0, 20, 2)), list(range(1, 20, 2))
    made.fold(NOBODY, trail(walks([even, odd], 12_000, seed=1)))
    assert set(order_of(proposed(made, interest_of([0]), 20, n=4))) <= set(even)


def test_only_what_followed_something_lately_is_proposed() -> None:
    made = model(RING + 100)
    made.fold(NOBODY, trail([(0, 1, 5, 1), (1, 2, 5, 1)] * 300))
    assert set(order_of(proposed(made, interest_of([0]), RING + 100))) == {1, 2}
    made.fold(NOBODY, trail([(10 + k, 11 + k, 5, 1) for k in range(RING)]))
    assert not {1, 2} & set(order_of(proposed(made, interest_of([0]), RING + 100, n=1_000)))


@pytest.mark.parametrize("seeds", [[], [3], [5_000]])
def test_it_is_silent_when_it_knows_nothing(seeds: list[int]) -> None:
    assert proposed(model(), interest_of(seeds), 6_000) == {}


def test_it_is_folded_only_where_a_placement_asks_it_and_a_snapshot_knows_which(tmp_path: Path) -> None:
    assert (asked(PLAIN, "item2vec"), asked(ASKED, "item2vec")) == (False, True)
    views = [Interaction(type="view", anon_id="a", item_id=f"i{k}", ts=1_760_000_000_000 + 9_000 * k) for k in range(6)]
    hashes = []
    for config, from_snapshot in ((PLAIN, False), (ASKED, False), (ASKED, True)):
        with Engine.open(tmp_path, config, Runtime(VirtualClock(1_760_000_060_000), seed=1)) as engine:
            assert engine.recovered.from_snapshot == from_snapshot
            engine.observe(views)  # duplicates after the first time
            assert engine.state.item2vec.arrays(0, 6)["inward"].any() == (config is ASKED)
            hashes.append(engine.state_hash())
            engine.snapshot()
    assert hashes[0] != hashes[1] == hashes[2]
