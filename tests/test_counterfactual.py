"""``endcap counterfactual`` on real logs whose truth is known: slates by two arms, rewards that depend on the arm."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from endcap.cli import main
from endcap.config import Config, ExploreConfig, load_config
from endcap.engine import Engine
from endcap.errors import InvalidInput, NotFound
from endcap.evaluation.counterfactual import Candidate, Comparison, candidate_of, compare
from endcap.feedback.impressions import impression_of
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.stores.sqlite import SqliteLog
from endcap.types import Context, Event, Impression, Interaction, Query, Shown

START_MS = 1_760_000_000_000
HOUR_MS = 3_600_000
WINDOW_MS = 24 * HOUR_MS
RATES = {"usual": {"mobile": 0.10, "desktop": 0.30}, "fresh": {"mobile": 0.40, "desktop": 0.20}}
ARMS: dict[str, dict[str, Any]] = {"usual": {}, "fresh": {"sources": ["popular"], "diversity": 0.5}}
CONFIG_TOML = """
[placements.home.arms.usual]

[placements.home.arms.fresh]
sources = ["popular"]
diversity = 0.5
"""


def events(n: int = 4_500, seed: int = 1, late: int = 0) -> list[Event]:
    """Slates of four items by two arms, half an hour apart in groups of ten, and clicks on their second item.

    Mobile draws "fresh" with 0.7, desktop with 0.2. ``late`` of the slates come in the last minutes of the log.
    """
    rng = np.random.default_rng(seed)
    found: list[Event] = []
    for s in range(n + late):
        ts = START_MS + (s // 10) * 1_800_000 + s % 10 * 1_000
        if s >= n:
            ts = START_MS + (n // 10) * 1_800_000 + WINDOW_MS + s
        device = "mobile" if rng.random() < 0.5 else "desktop"
        chance = 0.7 if device == "mobile" else 0.2
        arm = "fresh" if rng.random() < chance else "usual"
        user = f"u{rng.integers(n // 3)}"
        context = Context(device=device)
        items = tuple(Shown(f"i{(s + k) % 20}", k, 1.0, k, 1.0) for k in range(4))
        found.append(
            Impression.of(
                event_id=f"imp:{s}", request_id=f"r{s}", ts=ts, received_at=ts, user_id=user, shown=items, arm=arm,
                arm_propensity=chance if arm == "fresh" else 1 - chance, context=context, warmth="cold",
            )
        )  # fmt: skip
        if rng.random() < RATES[arm][device]:
            for again in range(2):  # told twice, worth once
                found.append(
                    Interaction(
                        type="click", event_id=f"c{s}-{again}", ts=ts + 500, received_at=ts + 500, user_id=user,
                        item_id=items[1].item_id, request_id=f"r{s}", context=context,
                    )
                )  # fmt: skip
    end = START_MS + (n // 10) * 1_800_000 + WINDOW_MS + 1_000
    found.append(Interaction(type="view", event_id="end", ts=end, received_at=end, user_id="last", item_id="i0"))
    return found


def log_of(some: list[Event]) -> MemoryLog:
    log = MemoryLog()
    log.append(some)
    return log


def with_home(**changes: Any) -> Config:
    config = Config()
    home = structs.replace(config.placements["home"], **changes)
    return structs.replace(config, placements={**config.placements, "home": home})


def judged(some: list[Event], arm: str) -> Comparison:
    return compare(log_of(some), Candidate(Config(), "home", arm))


# ---------------------------------------------------------------- arms


@pytest.mark.parametrize(("arm", "truth"), [("fresh", 0.30), ("usual", 0.20)])
def test_an_arm_is_worth_what_it_would_have_earned_alone(arm: str, truth: float) -> None:
    found = judged(events(), arm)
    assert found.kind == "arm"
    assert found.verdict.reasons == ()
    assert found.slates == 4_500
    for name in ("ips", "snips", "dr"):
        estimate = found.verdict.estimates[name]
        assert abs(estimate.value - truth) < 4 * estimate.standard_error, name
        assert estimate.standard_error < 0.025, name
    assert found.verdict.checks.support == pytest.approx(1.0, abs=0.01)
    assert found.verdict.checks.mean_weight == pytest.approx(1.0, abs=0.1)


def test_the_logged_mean_is_the_mean_of_the_rewards_each_counted_once() -> None:
    some = events()
    clicks = len({event.request_id for event in some if isinstance(event, Interaction) and event.request_id})
    assert judged(some, "fresh").logged.value == pytest.approx(clicks / 4_500)


def test_raw_means_by_arm_would_have_been_wrong() -> None:
    """Mobile draws "fresh" more often and clicks on it more: a plain mean of its slates is far off what it earns."""
    some = events()
    clicked = {event.request_id for event in some if isinstance(event, Interaction)}
    mine = [event.request_id in clicked for event in some if isinstance(event, Impression) and event.arm == "fresh"]
    estimate = judged(some, "fresh").verdict.estimates["snips"]
    assert float(np.mean(mine)) > estimate.high


def test_slates_whose_window_is_open_are_left_out_and_counted() -> None:
    whole, cut = judged(events(), "fresh"), judged(events(late=400), "fresh")
    assert (whole.immature, cut.immature) == (0, 400)
    assert cut.slates == whole.slates
    assert cut.logged.value == pytest.approx(whole.logged.value)


def test_slates_without_an_arm_are_left_out_and_counted() -> None:
    some = [
        structs.replace(event, arm="", arm_propensity=1.0) if isinstance(event, Impression) and k < 500 else event
        for k, event in enumerate(events())
    ]
    n = sum(isinstance(event, Impression) and not event.arm for event in some)
    found = judged(some, "fresh")
    assert (found.unarmed, found.slates) == (n, 4_500 - n)


def test_an_arm_that_came_late_lacks_support() -> None:
    some = [
        structs.replace(event, arm="usual", arm_propensity=1.0)
        if isinstance(event, Impression) and k < 1_500
        else event
        for k, event in enumerate(events(7_000))
    ]
    found = judged(some, "fresh")
    assert found.verdict.estimates == {}
    assert found.verdict.checks.support < 0.9
    assert any("could have taken" in reason for reason in found.verdict.reasons)


def test_a_short_log_is_refused() -> None:
    found = judged(events(600), "fresh")
    assert found.verdict.estimates == {}
    assert "effective sample size" in found.verdict.reasons[0]


def test_false_propensities_are_noticed() -> None:
    some = [
        structs.replace(event, arm_propensity=0.5) if isinstance(event, Impression) else event for event in events()
    ]
    wrong = [
        structs.replace(event, arm_propensity=0.9) if isinstance(event, Impression) else event for event in events()
    ]
    assert any("mean weight" in reason for reason in judged(wrong, "fresh").verdict.reasons)
    assert any("mean weight" in reason for reason in judged(some, "usual").verdict.reasons)


@pytest.mark.parametrize("wrong", [0.0, -0.2, 1.5, float("nan")])
def test_a_probability_that_is_none_names_the_slate(wrong: float) -> None:
    some = events(400)
    at = next(k for k, event in enumerate(some) if isinstance(event, Impression) and event.ts > START_MS + HOUR_MS)
    some[at] = structs.replace(some[at], arm_propensity=wrong)  # type: ignore[call-arg, type-var]
    with pytest.raises(InvalidInput, match=r"the slate shown at 2025-10-09 \d\d:\d\d:\d\d UTC: propensity"):
        judged(some, "fresh")


def test_an_arm_that_the_log_never_had_is_named_with_those_it_had() -> None:
    with pytest.raises(NotFound, match="fresh, usual"):
        judged(events(200), "frehs")


def test_a_log_without_slates_says_so() -> None:
    with pytest.raises(NotFound, match="no slate of the placement"):
        compare(log_of(events(100)), Candidate(Config(), "cart", "fresh"))


def test_a_log_that_is_younger_than_the_window_says_so() -> None:
    some = [event for event in events(200) if event.event_id != "end"]
    with pytest.raises(NotFound, match=r"feedback\.window_h"):
        judged([*some[:50]], "fresh")


# ---------------------------------------------------------------- items


def served(config: Config, n: int = 1_100, pages: int = 0) -> list[Event]:
    """What an engine logs of ``n`` slates of three items, 0.3 of them clicked on, and of a view at the end.

    The first ``pages`` of the slates are asked for on the page of an item.
    """
    clock, rng = VirtualClock(START_MS), np.random.default_rng(3)
    some: list[Event] = [
        Interaction(
            type="view", event_id=f"v{k}", ts=START_MS + k, received_at=START_MS + k, user_id=f"w{k % 40}",
            item_id=f"i{rng.integers(30)}",
        )
        for k in range(300)
    ]  # fmt: skip
    with Engine(MemoryLog(), config, Runtime(clock, seed=1)) as engine:
        engine.replay(some)
        for s in range(n):
            clock.ts = ts = START_MS + HOUR_MS + s * 60_000
            query = Query(user_id=f"w{s % 40}", n=3, ts=ts, items=["i1"] if s < pages else [])
            slate = engine.recommend(query, "logged")
            more: list[Event] = [impression_of(query, slate)]
            if rng.random() < 0.3:
                more.append(
                    Interaction(
                        type="click", event_id=f"c{s}", ts=ts + 1, received_at=ts + 1, user_id=f"w{s % 40}",
                        item_id=slate.items[int(rng.integers(3))].item_id, request_id=slate.request_id,
                    )
                )  # fmt: skip
            engine.replay(more)
            some += more
    end = START_MS + HOUR_MS + n * 60_000 + WINDOW_MS
    return [*some, Interaction(type="view", event_id="end", ts=end, received_at=end, user_id="z", item_id="i0")]


STILL = with_home(explore=ExploreConfig())  # nothing is tried out


def test_settings_equal_to_those_that_were_logged_are_worth_what_was_logged() -> None:
    some = served(STILL)
    candidate = candidate_of(STILL, "home", STILL)
    assert candidate.kind == "item"
    same = compare(log_of(some), candidate)
    assert same.verdict.reasons == ()
    assert same.verdict.checks.support == 1.0
    assert same.verdict.estimates["snips"].value == pytest.approx(same.logged.value)
    assert same.logged.value == pytest.approx(len([one for one in some if one.event_id.startswith("c")]) / 1_100)

    refused = compare(
        log_of(some),
        candidate_of(with_home(sources=["popular"], diversity=0.9, explore=ExploreConfig()), "home", STILL),
    )
    assert refused.verdict.estimates == {}
    assert any("could have taken" in reason for reason in refused.verdict.reasons)


def test_slates_whose_query_named_items_are_left_out_and_counted() -> None:
    found = compare(log_of(served(STILL, pages=80)), candidate_of(STILL, "home", STILL), min_ess=1_000)
    assert (found.unasked, found.slates) == (80, 1_020)
    assert found.verdict.checks.support == 1.0
    with pytest.raises(NotFound, match="named items"):
        compare(log_of(served(STILL, n=30, pages=30)), candidate_of(STILL, "home", STILL))


def test_the_propensities_of_exploration_are_those_by_which_it_drew() -> None:
    """The settings that explored, but not exploring: all they do was possible, so weights are 1 on average."""
    explore = ExploreConfig(share=0.4, new_items=5, protected=False)
    some = served(with_home(explore=explore))
    slates = [event for event in some if isinstance(event, Impression)]
    tried = [one for slate in slates for one in slate.shown() if one.rank != one.position]
    assert 0.2 < len(tried) / sum(len(slate.items) for slate in slates) < 0.5
    found = compare(log_of(some), candidate_of(with_home(explore=explore), "home", Config()), min_ess=100)
    assert found.kind == "item"
    checks = found.verdict.checks
    assert checks.max_weight > 1.2
    assert abs(checks.mean_weight - 1) < max(0.01, 4 * checks.mean_weight_error)
    assert found.verdict.reasons == ()


# ---------------------------------------------------------------- what the candidate is


def test_settings_that_equal_an_arm_are_that_arm() -> None:
    logged = with_home(arms=ARMS)
    assert candidate_of(with_home(**ARMS["fresh"]), "home", logged).arm == "fresh"
    assert candidate_of(Config(), "home", logged).arm == "usual"
    assert candidate_of(Config(), "home", Config()).arm == ""


def test_one_arm_left_is_that_arm_and_several_are_refused() -> None:
    assert candidate_of(with_home(arms={"fresh": ARMS["fresh"]}), "home", Config()).arm == "fresh"
    with pytest.raises(InvalidInput, match="--arm NAME"):
        candidate_of(with_home(arms=ARMS), "home", Config())
    assert candidate_of(with_home(arms=ARMS), "home", Config(), "usual").arm == "usual"
    with pytest.raises(InvalidInput, match="no placement 'hme'"):
        candidate_of(Config(), "hme", Config())


# ---------------------------------------------------------------- the command


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Call ``endcap`` in this process, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["endcap", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A data directory with a log, beside it the settings that made it."""
    directory = tmp_path / "data"
    directory.mkdir()
    log = SqliteLog(directory / "endcap.db", "os")
    log.append(events())
    log.close()
    (tmp_path / "endcap.toml").write_text(CONFIG_TOML)
    return directory


def test_the_command_prints_every_estimator_beside_what_was_logged(run: Run, shop: Path, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate.toml"
    candidate.write_text('[placements.home]\nsources = ["popular"]\ndiversity = 0.5\n')
    assert candidate_of(load_config(candidate)[0], "home", load_config(tmp_path / "endcap.toml")[0]).arm == "fresh"
    status, out, err = run("counterfactual", "--candidate", candidate, "--on", shop, "--json")
    assert status == 0, err
    told = json.loads(out)
    assert told["arm"] == "fresh"
    assert set(told["estimates"]) == {"ips", "clipped", "snips", "dm", "dr"}
    assert told["refused"] == []
    for name in ("logged", *told["estimates"]):
        assert f"\n{name} " in err or err.startswith(name), name
    again = run("counterfactual", "--candidate", candidate, "--on", shop / "endcap.db", "--json")
    assert json.loads(again[1]) == told


def test_the_command_refuses_with_status_1_and_the_reasons(run: Run, shop: Path, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate.toml"
    candidate.write_text('[placements.home]\nsources = ["trending"]\n')
    status, out, err = run("counterfactual", "--candidate", candidate, "--on", shop, "--json")
    assert status == 1
    assert json.loads(out)["estimates"] == {}
    assert json.loads(out)["kind"] == "item"
    assert "refused: " in err


def test_the_command_names_a_log_that_is_not_there(run: Run, tmp_path: Path) -> None:
    candidate = tmp_path / "candidate.toml"
    candidate.write_text("")
    status, _, err = run("counterfactual", "--candidate", candidate, "--on", tmp_path / "nowhere.db")
    assert status == 2
    assert err.startswith("endcap: no log at")
