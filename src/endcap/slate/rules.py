"""Rules: what the merchant wants, on top of what the shopper wants.

block: the items are in no slate of the placement. boost: their score is multiplied by ``factor``; bury: divided. pin:
they stand at ``position`` and after, in the order given. Each may name placements and a time from ``starts_at`` up to
(not including) ``ends_at``. ``items`` and ``filter`` together act on the union. Block beats pin; nothing beats
availability.

Cost: ~0.3 us per rule of the placement to see whether it is active, ~1 us per active boost or bury on 150 candidates.
Boosting multiplies one score by a constant, so law L5 holds: no other candidate matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numba import njit

from endcap.config import Rule
from endcap.errors import ConfigError, InvalidFilter
from endcap.slate.filter import CompiledFilter, compile_filter, epoch_ms
from endcap.slate.predicates import Fields
from endcap.types import F4, I4, U1

ALWAYS = 1 << 62


@njit(cache=True, nogil=True)
def scale_scores(items: I4, mask: U1, factor: float, scores: F4, promoted: U1) -> None:
    """Multiply the scores of masked items; a negative score is divided, so that a factor above 1 always helps."""
    for k in range(items.shape[0]):
        if items[k] < mask.shape[0] and mask[items[k]] != 0:
            scores[k] = scores[k] * factor if scores[k] > 0.0 else scores[k] / factor
            if factor > 1.0:
                promoted[k] = 1


@dataclass(frozen=True, slots=True)
class ReadyRule:
    """A checked rule: times in epoch ms, what it acts on compiled."""

    rule: Rule
    starts_ms: int
    ends_ms: int
    acts_on: CompiledFilter


@dataclass(frozen=True, slots=True)
class ActiveRules:
    """The rules that hold for one placement at one moment."""

    catalogue: Fields
    rules: Sequence[ReadyRule] = ()

    def blocked(self) -> list[U1]:
        """Masks by item, 1 = blocked."""
        return [ready.acts_on.mask(self.catalogue) for ready in self.rules if ready.rule.action == "block"]

    def scale(self, items: I4, scores: F4, promoted: U1) -> None:
        """Boost and bury: ``scores`` [m] of ``items`` [m] in place; ``promoted`` [m] becomes 1 where a boost helped."""
        for ready in self.rules:
            rule = ready.rule
            if rule.action in ("boost", "bury"):
                factor = rule.factor if rule.action == "boost" else 1.0 / rule.factor
                scale_scores(items, ready.acts_on.mask(self.catalogue), factor, scores, promoted)

    def pins(self) -> list[tuple[int, int]]:
        """(0-based place, dense id) of pinned items that are known, in the order of the rules."""
        pinned = [
            (ready.rule.position + k, self.catalogue.item_of(item_id))
            for ready in self.rules
            if ready.rule.action == "pin"
            for k, item_id in enumerate(ready.rule.items)
        ]
        return [(place, item) for place, item in pinned if item >= 0]


class Rules:
    """The configured rules. ``ConfigError`` names the rule that cannot be used and why."""

    def __init__(self, rules: Sequence[Rule], catalogue: Fields) -> None:
        self._catalogue = catalogue
        self._rules = [checked(rule) for rule in rules]
        self._none = ActiveRules(catalogue)

    def at(self, placement: str, t_ms: int) -> ActiveRules:
        """What holds for a placement at ``t_ms`` (epoch ms)."""
        if not self._rules:
            return self._none
        active = [
            ready
            for ready in self._rules
            if ready.starts_ms <= t_ms < ready.ends_ms
            and (not ready.rule.placements or placement in ready.rule.placements)
        ]
        return ActiveRules(self._catalogue, active) if active else self._none


def checked(rule: Rule) -> ReadyRule:
    """A rule ready for use, or ``ConfigError``."""
    where = f"rule {rule.name!r}"
    if rule.action == "pin" and (not rule.items or rule.filter is not None):
        raise ConfigError(f"{where}: a pin names its items, in order, and takes no filter")
    if not rule.items and rule.filter is None:
        raise ConfigError(f"{where}: acts on nothing; give items or filter")
    if not 0.0 < rule.factor < 1e6:
        raise ConfigError(f"{where}: factor is {rule.factor}, expected above 0 and below 1000000")
    if rule.position < 0:
        raise ConfigError(f"{where}: position is {rule.position}, expected 0 (the first place) or more")
    parts: list[dict[str, Any]] = [rule.filter] if rule.filter is not None else []
    if rule.items:
        parts.append({"in": {"item_id": rule.items}})
    try:
        acts_on = compile_filter({"or": parts})
        starts_ms = round(epoch_ms(rule.starts_at, "starts_at")) if rule.starts_at else -ALWAYS
        ends_ms = round(epoch_ms(rule.ends_at, "ends_at")) if rule.ends_at else ALWAYS
    except InvalidFilter as wrong:
        raise ConfigError(f"{where}: {wrong}") from wrong
    if ends_ms <= starts_ms:
        raise ConfigError(f"{where}: ends_at {rule.ends_at} is not after starts_at {rule.starts_at}")
    return ReadyRule(rule, starts_ms, ends_ms, acts_on)
