"""Position propensities and calibration: known truth in, known truth out."""

from __future__ import annotations

import numpy as np
import pytest

from endcap.batches import SHOWN_ROW, SLATE, Outcomes
from endcap.feedback.calibration import BINS, Calibration
from endcap.feedback.faded import DAY_S
from endcap.feedback.positions import POSITIONS, Positions, position_weights, theta
from endcap.feedback.rewards import CLICK

N = 8
TRUE = 1.0 / np.arange(1, N + 1) ** 0.7
LIKE = np.linspace(0.5, 0.2, N)


def told(seed: int, slates: int, swap: float, day: int = 100) -> Outcomes:
    """Slates of ``N`` with random swaps; clicks by look and like."""
    rng = np.random.default_rng(seed)
    records, rows = np.zeros(slates, SLATE), np.zeros(slates * N, SHOWN_ROW)
    entries: list[tuple[int, int, int, int]] = []
    for slot in range(slates):
        rank = np.arange(N)
        if rng.random() < swap:
            a, b = rng.choice(N, 2, replace=False)
            rank[a], rank[b] = b, a
        records[slot]["n"], records[slot]["ts_s"] = N, day * DAY_S
        rows["rank"][slot * N : slot * N + N] = rank
        rows["score"][slot * N : slot * N + N] = LIKE[rank]
        entries.append((slot, slot * N, -1, -1))
        clicks = np.flatnonzero(rng.random(N) < TRUE * LIKE[rank])
        entries += [(slot, slot * N + int(at), int(at), CLICK) for at in clicks]
    slot_, row, place, deed = np.array(entries).T
    return Outcomes(
        records, rows, slot_.astype(np.int32), row.astype(np.int32), place.astype(np.int32),
        np.zeros(len(entries), np.int32), deed.astype(np.int8), np.zeros(len(entries), np.float32),
        np.zeros(len(entries), np.int64),
    )  # fmt: skip


def test_theta_is_recovered_from_swaps_though_better_items_stand_in_front() -> None:
    positions = Positions()
    for seed in range(4):
        positions.fold(told(seed, 5_000, 0.5), 1)
    view = positions.view(0)
    found = view.theta[:N] / view.theta[0]
    assert np.abs(found / TRUE - 1.0).max() < 0.1
    naive = (view.clicked / np.maximum(view.shown, 1))[:N]
    assert np.abs(naive / naive[0] / TRUE - 1.0).max() > 0.3, "without ranks the liking of the items is taken for looks"
    weights = position_weights(view)
    assert weights[0] == pytest.approx(1.0)
    assert weights[1:N].min() > 1.0
    assert (weights[N:] == 1.0).all()


def test_without_swaps_nothing_is_claimed() -> None:
    positions = Positions()
    positions.fold(told(1, 2_000, 0.0), 1)
    assert np.isnan(positions.view(0).theta).all()
    assert np.isnan(positions.view(-1).theta).all()
    assert positions.view(0).shown[:N].tolist() == [2_000.0] * N


def test_theta_solves_counts_without_noise_exactly() -> None:
    shown = np.zeros((33, POSITIONS))
    shown[:N, :N] = 200.0
    clicked = np.zeros_like(shown)
    clicked[:N, :N] = shown[:N, :N] * LIKE[:, None] * TRUE[None, :]
    moved = shown.sum(axis=0) - np.diagonal(shown[:POSITIONS])
    assert np.allclose(theta(shown, clicked, moved)[:N], TRUE, atol=1e-6)


def test_counts_fade_by_the_day_and_survive_a_snapshot() -> None:
    positions = Positions()
    positions.fold(told(1, 100, 0.2), 1)
    other = Positions()
    other.load({name: array.copy() for name, array in positions.arrays(0, 0).items()})
    for one in (positions, other):
        one.fold(told(2, 1, 0.0, day=130), 1)
    assert positions.view(0).shown[0] == pytest.approx(51.0)
    assert other.view(0).shown.tolist() == positions.view(0).shown.tolist()


def test_calibrated_scores_are_click_rates_that_never_fall() -> None:
    calibration = Calibration()
    for seed in range(3):
        calibration.fold(told(seed, 5_000, 1.0), 1)
    found = calibration.probability(0, LIKE.astype(np.float32))
    assert (np.diff(found[::-1]) >= -1e-12).all()
    assert found[0] == pytest.approx(LIKE[0] * TRUE[0], rel=0.5)
    shown, clicked = calibration.arrays(0, 0)["shown"][0], calibration.arrays(0, 0)["clicked"][0]
    assert shown.shape == (BINS,)
    assert (calibration.probability(0, LIKE.astype(np.float32)) * 1).mean() == pytest.approx(
        clicked.sum() / shown.sum(), rel=0.1
    )
    assert np.isnan(calibration.probability(5, LIKE.astype(np.float32))).all()
