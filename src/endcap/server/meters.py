"""What each variant of a running experiment cost the service lately: slates, slow, failed and empty ones.

Counted per slate on the loop thread, as plain integers, in two windows of a minute: the running one and the one before.
So a rail that breaks shows within seconds, and an hour of good service does not hide it. A slate without experiments
costs one look at an empty dictionary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from endcap.feedback.experiments import INTERLEAVED, Experiment
from endcap.feedback.guardrails import Measured

WINDOW_S = 60.0
SLATES, SLOW, FAILED, EMPTY = range(4)


class Meters:
    """Counts of every variant that runs. Not for several threads."""

    def __init__(self) -> None:
        self._slow_s: dict[str, float] = {}  # by experiment
        self._now: dict[tuple[str, str], list[int]] = {}
        self._before: dict[tuple[str, str], list[int]] = {}

    def watch(self, experiments: Iterable[Experiment]) -> None:
        """Count for these from now on; what was counted for others is dropped."""
        self._slow_s = {
            one.name: float("inf") if one.guardrails.max_p99_ms is None else one.guardrails.max_p99_ms / 1e3
            for one in experiments
        }
        for counts in (self._now, self._before):
            for gone in [key for key in counts if key[0] not in self._slow_s]:
                del counts[gone]

    def answered(self, variants: Mapping[str, str], seconds: float, empty: bool) -> None:
        """One slate was made; ``variants`` as the slate names them."""
        for key in variants.items():
            counts = self._of(key)
            if counts is not None:
                counts[SLATES] += 1
                counts[SLOW] += seconds > self._slow_s[key[0]]
                counts[EMPTY] += empty

    def failed(self, variants: Mapping[str, str]) -> None:
        """A slate could not be made."""
        for key in variants.items():
            counts = self._of(key)
            if counts is not None:
                counts[SLATES] += 1
                counts[FAILED] += 1

    def _of(self, key: tuple[str, str]) -> list[int] | None:
        if key[0] not in self._slow_s:
            return None
        found = self._now.get(key)
        if found is None:
            found = self._now[key] = [0, 0, 0, 0]
        return found

    def turn(self) -> None:
        """A window is over."""
        self._before, self._now = self._now, {}

    def measured(self, experiment: Experiment) -> dict[str, Measured]:
        """The last one to two windows by variant, the first one first."""
        names = [INTERLEAVED] if experiment.kind == "interleave" else list(experiment.variants)
        found = {}
        for name in names:
            key = (experiment.name, name)
            counts = [
                sum(pair) for pair in zip(self._now.get(key, NOTHING), self._before.get(key, NOTHING), strict=True)
            ]
            found[name] = Measured(slates=counts[SLATES], slow=counts[SLOW], failed=counts[FAILED], empty=counts[EMPTY])
        return found


NOTHING = [0, 0, 0, 0]
