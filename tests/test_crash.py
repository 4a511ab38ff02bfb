"""Law L12: no acknowledged event is lost by kill -9 at any point, and what recovers equals a rebuild from the log."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from crash import POINTS, Harness, Outcome, event, inspect
from endcap.stores.sqlite import SqliteLog

KILLS = int(os.environ.get("ENDCAP_KILLS", "50"))
SEED = int(os.environ.get("ENDCAP_SEED", "20261124"))


def test_no_acknowledged_event_is_lost_or_doubled_by_kill_9(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    harness = Harness(tmp_path, SEED)
    try:
        outcome = harness.run(KILLS)
    finally:
        harness.close()
    with capfd.disabled():
        print(f"\n{outcome} (seed {SEED})")
    assert outcome.kills == KILLS
    assert (outcome.lost, outcome.duplicated, outcome.changed, outcome.unequal) == (0, 0, 0, 0)
    assert (outcome.unjoined, outcome.credited_twice) == (0, 0)
    assert outcome.clicks > KILLS // 3
    assert outcome.acked > KILLS, "the children must get some work done"
    assert outcome.recoveries > KILLS // 3
    if KILLS >= 50:
        assert outcome.from_snapshot > 0
        assert set(outcome.by_point) >= {*POINTS, "random time"}


def test_the_harness_sees_a_lost_and_a_changed_event(tmp_path: Path) -> None:
    """A harness that cannot fail proves nothing: leave one event out and change another, and it must say so."""
    log = SqliteLog(tmp_path / "endcap.db")
    log.append([event(0), msgspec.structs.replace(event(2), price=99.0)])
    log.close()
    outcome = Outcome()
    inspect(tmp_path, {0, 1, 2}, outcome)
    assert (outcome.lost, outcome.changed, outcome.duplicated) == (1, 1, 0)
