"""The bandit against plain NumPy and Monte Carlo; then whether it learns what it should."""

from __future__ import annotations

import numpy as np
import pytest

from endcap.batches import SHOWN_ROW, SLATE, Outcomes
from endcap.config import ExploreConfig, FeedbackConfig
from endcap.errors import ConfigError
from endcap.models.bandit import PRIOR, Bandit, D, chances, describe
from endcap.types import DEVICE_CODE

MOBILE, DESKTOP = DEVICE_CODE["mobile"], DEVICE_CODE["desktop"]
HOME, FIRST, SECOND = 0, 1, 2  # labels
Round = tuple[int, int, int, list[float]]  # arm, hour, device, rewards


def outcomes_of(rounds: list[Round], turn: int = 0) -> Outcomes:
    """Slates, each with its rewards at once."""
    slates = np.zeros(len(rounds), SLATE)
    entries: list[tuple[int, int, float]] = []
    for slot, (arm, hour, device, rewards) in enumerate(rounds):
        slates[slot]["arm"], slates[slot]["placement"], slates[slot]["turn"] = arm, HOME, turn + slot
        slates[slot]["hour"], slates[slot]["device"], slates[slot]["region"] = hour, device, -1
        slates[slot]["n"] = 1
        entries.append((slot, -1, 0.0))
        entries += [(slot, 0, reward) for reward in rewards]
    slot_, place, reward = (np.array(column) for column in zip(*entries, strict=True))
    n = len(entries)
    return Outcomes(
        slates, np.zeros(1, SHOWN_ROW), slot_.astype(np.int32), np.zeros(n, np.int32), place.astype(np.int32),
        np.zeros(n, np.int32), np.zeros(n, np.int8), reward.astype(np.float32), np.zeros(n, np.int64),
    )  # fmt: skip


def ask(bandit: Bandit, hour: int, device: int, *, floor: float = 0.0, cap: float = 1.0) -> np.ndarray:
    return bandit.probabilities([FIRST, SECOND], hour, device, -1, 0, 0, floor, cap)


def test_probabilities_are_those_of_drawing_from_the_posteriors() -> None:
    rng = np.random.default_rng(1)
    mean, sd, out = np.array([0.2, 0.25, 0.1, -1.0]), np.array([0.05, 0.1, 0.2, 0.01]), np.zeros(4)
    chances(mean, sd, out)
    drawn = (mean + sd * rng.standard_normal((400_000, 4))).argmax(axis=1)
    assert np.allclose(out, np.bincount(drawn, minlength=4) / 400_000, atol=0.004)
    assert out.sum() == pytest.approx(1.0)


def test_what_is_folded_is_faded_ridge_regression() -> None:
    rng = np.random.default_rng(2)
    keep = 0.5 ** (1 / 50)
    rounds: list[Round] = [
        (int(rng.integers(1, 3)), int(rng.integers(24)), int(rng.integers(1, 4)), [1.0] * int(rng.integers(0, 3)))
        for _ in range(200)
    ]
    bandit = Bandit(FeedbackConfig(half_life_requests=50))
    bandit.fold(outcomes_of(rounds[:70]), 3)
    bandit.fold(outcomes_of(rounds[70:], turn=70), 3)
    x = np.zeros((200, D))
    for at, (_, hour, device, _) in enumerate(rounds):
        describe(hour, device, -1, 0, 0, x[at])
    weight = keep ** np.arange(199, -1, -1)
    moment_of_asking = np.zeros(D)
    describe(20, MOBILE, -1, 0, 0, moment_of_asking)
    for arm in (FIRST, SECOND):
        mine = np.array([one[0] == arm for one in rounds])
        w, xs = weight[mine], x[mine]
        total = np.array([sum(one[3]) for one in rounds])[mine]
        solved = np.linalg.solve((xs * w[:, None]).T @ xs + PRIOR * np.eye(D), (xs * w[:, None]).T @ total)
        arrays = bandit.arrays(0, 0)
        at = arrays["arms"].tolist().index(arm)
        ours = np.linalg.solve(arrays["gram"][at] + PRIOR * np.eye(D), arrays["moment"][at])
        assert np.allclose(ours, solved, atol=1e-4)
        slates, reward = bandit.earned(arm)
        assert slates == pytest.approx(w.sum())
        assert reward == pytest.approx((w * total).sum() / w.sum(), rel=1e-5)


def test_a_late_reward_weighs_as_much_as_its_slate() -> None:
    """The same story, once with the rewards at once and once after all slates: the same posterior."""
    rounds: list[Round] = [(FIRST, 10, MOBILE, [1.0]), (SECOND, 11, MOBILE, []), (FIRST, 12, DESKTOP, [2.0])]
    at_once, later = Bandit(FeedbackConfig(half_life_requests=2)), Bandit(FeedbackConfig(half_life_requests=2))
    told = outcomes_of(rounds)
    at_once.fold(told, 3)
    order = np.argsort(told.place >= 0, kind="stable")
    columns = {name: getattr(told, name)[order] for name in ("slot", "row", "place", "item", "deed", "reward", "ts")}
    later.fold(Outcomes(told.slates, told.rows, **columns), 3)
    assert np.allclose(at_once.arrays(0, 0)["moment"], later.arrays(0, 0)["moment"])
    assert at_once.arrays(0, 0)["gram"].tobytes() == later.arrays(0, 0)["gram"].tobytes()


def test_it_learns_which_arm_suits_which_moment() -> None:
    rng = np.random.default_rng(3)
    bandit = Bandit(FeedbackConfig())
    right = lambda arm, device: (arm == FIRST) == (device == MOBILE)  # noqa: E731
    for turn in range(0, 3_000, 10):
        rounds: list[Round] = []
        for _ in range(10):
            hour, device = int(rng.integers(24)), int(rng.choice([MOBILE, DESKTOP]))
            arm = FIRST if rng.random() < ask(bandit, hour, device)[0] else SECOND
            rounds.append((arm, hour, device, [1.0] if rng.random() < (0.3 if right(arm, device) else 0.1) else []))
        bandit.fold(outcomes_of(rounds, turn), 3)
    assert ask(bandit, 20, MOBILE)[0] > 0.9
    assert ask(bandit, 20, DESKTOP)[1] > 0.9


def test_floor_and_cap_hold() -> None:
    bandit = Bandit(FeedbackConfig())
    bandit.fold(outcomes_of([(FIRST, 1, MOBILE, [1.0])] * 300 + [(SECOND, 1, MOBILE, [])] * 300), 3)
    assert ask(bandit, 1, MOBILE, floor=0.05)[1] >= 0.05
    unknown = Bandit(FeedbackConfig())
    assert np.allclose(ask(unknown, 1, MOBILE), 0.5)
    capped = ask(unknown, 1, MOBILE, cap=ExploreConfig().share)
    assert sorted(capped.tolist()) == pytest.approx([0.0, 1.0])


def test_a_snapshot_keeps_it() -> None:
    bandit, other = Bandit(FeedbackConfig()), Bandit(FeedbackConfig())
    bandit.fold(outcomes_of([(SECOND, 3, MOBILE, [1.0]), (FIRST, 4, DESKTOP, [])]), 3)
    other.load({name: array.copy() for name, array in bandit.arrays(0, 0).items()})
    more = outcomes_of([(FIRST, 5, DESKTOP, [3.0])], turn=2)
    bandit.fold(more, 3)
    other.fold(more, 3)
    for name, array in bandit.arrays(0, 0).items():
        assert array.tobytes() == other.arrays(0, 0)[name].tobytes(), name


def test_a_half_life_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="half_life_requests is 0"):
        Bandit(FeedbackConfig(half_life_requests=0))
