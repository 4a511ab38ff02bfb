"""Experiments: who sees which variant of a placement.

Idea: a visitor ("unit": the login id, else the anonymous id) is hashed to a point of [0, 1), twice. The first hash, of
the placement and the unit, says whether the unit is in the experiment's slice of the traffic; experiments on one
placement hold slices that do not overlap, so no unit is ever in two of them. The second, of the experiment's salt and
the unit, picks the variant. Both depend on nothing else: a unit keeps its variant on every server, across restarts,
and when the share of traffic changes.

Layout: ``Experiments`` holds what runs, prepared per placement: edges of slices, and per variant the finished
``PlacementConfig``. It is made anew when the experiments change; nothing in it is written afterwards.

Cost: one dictionary probe for a placement without experiments, two BLAKE2 hashes (about 2 us) for one with.

When not to use it: for units other than people (a whole shop, a region), where neighbours influence one another.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from msgspec import Struct, field, structs

from endcap.config import PlacementConfig, overridden
from endcap.errors import InvalidInput, NotFound
from endcap.feedback.guardrails import Guardrails
from endcap.types import Query

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MAX_VARIANTS = 16
MAX_PLANNED = 10**12
MAX_SALT = 256
SLACK = 1e-9
ULP = 2.0**-53  # 53 bits of hash are a number of [0, 1) exactly

KindName = Literal["ab", "interleave", "aa"]


class Variant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way of making a placement's list."""

    weight: float  # share of the experiment's units
    settings: dict[str, Any] = field(default_factory=dict)  # of the placement, that differ
    ranker: int = 0  # number of a trained ranker (endcap models list); 0 = the one that serves


class Experiment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A comparison of variants of one placement. The first variant is what the others are compared with."""

    name: str
    placement: str
    variants: dict[str, Variant]
    kind: KindName = "ab"  # aa: all variants alike, to check the machinery; interleave: two rankers mixed in each slate
    unit: Literal["user"] = "user"  # the login id, else the anonymous id
    share: float = 1.0  # of the placement's traffic
    first: float = 0.0  # where its slice of the traffic begins, 0 to 1 - share
    planned: int = 100_000  # slates until the decision; results are sharpest there, and valid at any time
    salt: str = ""  # of the variants' hash; the name if left out
    guardrails: Guardrails = field(default_factory=Guardrails)
    started_at: int = 0  # epoch ms
    ended_at: int = 0  # epoch ms, 0 = it runs
    stopped: str = ""  # why it ended

    @property
    def running(self) -> bool:
        """Whether it takes traffic."""
        return self.ended_at == 0

    @property
    def end(self) -> float:
        """Where its slice of the traffic ends."""
        return self.first + self.share


INTERLEAVED = "interleaved"  # the variant that slates of an interleaving experiment are in


class Assigned(NamedTuple):
    """What an experiment asks of one slate."""

    variants: dict[str, str]  # experiment -> variant; shared, not to be changed
    placement: PlacementConfig | None  # None: as configured
    ranker: int | None  # None: the one that serves
    other: Assigned | None = None  # interleaving: the second variant, whose list is mixed with this one's


NOBODY = Assigned({}, None, None)


def unit_of(query: Query) -> str:
    """What is hashed of a query; "" when it names nobody."""
    if query.user_id:
        return "u" + query.user_id
    return "a" + query.anon_id if query.anon_id else ""


def point(salt: bytes, unit: bytes) -> float:
    """A number of [0, 1) for a unit, the same everywhere; another salt gives an unrelated one."""
    return (int.from_bytes(blake2b(salt + unit, digest_size=8).digest(), "big") >> 11) * ULP


def salted(purpose: str, text: str) -> bytes:
    """What is hashed before the unit; NUL ends it, so that no two purposes meet."""
    return f"{purpose}\x00{text}\x00".encode()


class Slice:
    """One running experiment, prepared for assignment."""

    __slots__ = ("assigned", "edges", "end", "experiment", "first", "salt")

    def __init__(self, experiment: Experiment, placement: PlacementConfig) -> None:
        self.experiment = experiment
        self.first, self.end = experiment.first, experiment.end
        self.salt = salted("variant", experiment.salt or experiment.name)
        self.edges = list(accumulate(variant.weight for variant in experiment.variants.values()))
        self.edges[-1] = 1.0
        self.assigned = [
            Assigned(
                {experiment.name: name},
                changed(experiment, name, placement) if variant.settings else None,
                variant.ranker or None,
            )
            for name, variant in experiment.variants.items()
        ]
        if experiment.kind == "interleave":
            one, two = self.assigned
            both = one._replace(variants={experiment.name: INTERLEAVED}, other=two)
            self.edges, self.assigned = [1.0], [both]

    def variant(self, unit: bytes) -> Assigned:
        """The variant of a unit of this slice."""
        return self.assigned[bisect_right(self.edges, point(self.salt, unit))]


class Experiments:
    """What runs now, for one configuration. ``InvalidInput`` when an experiment does not fit it."""

    __slots__ = ("_all", "_by_placement")

    def __init__(self, experiments: Iterable[Experiment], placements: Mapping[str, PlacementConfig]) -> None:
        self._all: dict[str, Experiment] = {}
        self._by_placement: dict[str, tuple[bytes, list[Slice]]] = {}  # with the salt of its layer
        for experiment in experiments:
            if experiment.running:
                check(experiment, self._all.values(), placements)
                made = Slice(experiment, placements[experiment.placement])
                layer = salted("layer", experiment.placement)
                self._by_placement.setdefault(experiment.placement, (layer, []))[1].append(made)
            self._all[experiment.name] = experiment

    def assign(self, placement: str, unit: str) -> Assigned:
        """What the running experiments ask of a slate of ``placement`` for ``unit`` (``unit_of``); pure."""
        found = self._by_placement.get(placement)
        if found is None or not unit:
            return NOBODY
        layer, slices = found
        encoded = unit.encode("utf-8", "surrogatepass")
        at = point(layer, encoded)
        for one in slices:
            if one.first <= at < one.end:
                return one.variant(encoded)
        return NOBODY

    def all(self) -> list[Experiment]:
        """Every experiment, ended ones too, in order of start."""
        return list(self._all.values())

    def get(self, name: str) -> Experiment:
        """One experiment; ``NotFound`` with what there is."""
        found = self._all.get(name)
        if found is None:
            raise unknown(name, self._all)
        return found


# ---------------------------------------------------------------- checks and changes


def unknown(name: str, known: Iterable[str]) -> NotFound:
    """The error for a name that no experiment has."""
    return NotFound(f"no experiment {name[:80]!r}; there are: {', '.join(sorted(known)) or 'none'}")


def changed(experiment: Experiment, name: str, placement: PlacementConfig) -> PlacementConfig:
    """A variant's placement. ``ConfigError`` when a setting is unknown or of the wrong type."""
    return overridden(f"experiments.{experiment.name}.{name}", placement, experiment.variants[name].settings)


def check(experiment: Experiment, others: Iterable[Experiment], placements: Mapping[str, PlacementConfig]) -> None:
    """Raise ``InvalidInput`` (or ``ConfigError`` for a setting) when an experiment may not run beside ``others``."""
    where = f"experiment {experiment.name[:80]!r}"
    for what, text in (("name", experiment.name), *(("variants", name) for name in experiment.variants)):
        if not NAME.fullmatch(text):
            raise InvalidInput(
                f"{what}: {text[:80]!r} is no name; expected 1 to 64 of A-Z a-z 0-9 _ . -, the first a letter or digit",
                field=what,
            )
    if experiment.placement not in placements:
        raise InvalidInput(
            f"{where}: no placement {experiment.placement[:64]!r}; configured: {', '.join(sorted(placements))}",
            field="placement",
        )
    check_variants(experiment, where)
    if not (0.0 < experiment.share <= 1.0 and experiment.first >= 0.0 and experiment.end <= 1.0 + SLACK):
        raise InvalidInput(
            f"{where}: a slice of {experiment.share} from {experiment.first} is no part of the traffic; expected a "
            "share above 0 and first + share at most 1",
            field="share",
        )
    rails = experiment.guardrails
    for what, share in (("max_error_share", rails.max_error_share), ("max_empty_share", rails.max_empty_share)):
        if share is not None and not 0.0 <= share <= 1.0:
            raise InvalidInput(f"{where}: {what} is {share}; expected 0 to 1, or null", field=f"guardrails.{what}")
    if rails.max_p99_ms is not None and not rails.max_p99_ms > 0.0:
        raise InvalidInput(
            f"{where}: max_p99_ms is {rails.max_p99_ms}; expected milliseconds, or null", field="guardrails.max_p99_ms"
        )
    if not 1 <= experiment.planned <= MAX_PLANNED:
        raise InvalidInput(
            f"{where}: planned is {experiment.planned}; expected slates, 1 to {MAX_PLANNED:.0e}", field="planned"
        )
    if len(experiment.salt) > MAX_SALT:
        raise InvalidInput(f"{where}: a salt of {len(experiment.salt)} characters; expected {MAX_SALT}", field="salt")
    for name, variant in experiment.variants.items():
        if variant.settings:
            changed(experiment, name, placements[experiment.placement])
    for other in others:
        if other.name == experiment.name:
            raise InvalidInput(
                f"there is an experiment {other.name!r} already; its visitors and results would mix with new ones, "
                "so take another name",
                field="name",
            )
    refuse_overlap(experiment, others)


def check_variants(experiment: Experiment, where: str) -> None:
    """Number, weights and kind of an experiment's variants."""
    variants = experiment.variants
    if not 2 <= len(variants) <= MAX_VARIANTS:
        raise InvalidInput(
            f"{where} has {len(variants)} variants; expected 2 to {MAX_VARIANTS}, the first being what serves now",
            field="variants",
        )
    for name, variant in variants.items():
        if not (math.isfinite(variant.weight) and variant.weight > 0):
            raise InvalidInput(
                f"{where}: variant {name!r} has weight {variant.weight}; expected more than 0", field="variants"
            )
        if variant.ranker < 0:
            raise InvalidInput(
                f"{where}: variant {name!r} has ranker {variant.ranker}; expected a number from endcap models list, "
                "or 0 for the one that serves",
                field="variants",
            )
    total = math.fsum(variant.weight for variant in variants.values())
    if abs(total - 1.0) > 1e-6:
        given = " + ".join(f"{variant.weight:g}" for variant in variants.values())
        raise InvalidInput(f"{where}: weights {given} sum to {total:g}; expected 1", field="variants")
    if experiment.kind == "aa" and any(variant.settings or variant.ranker for variant in variants.values()):
        raise InvalidInput(
            f"{where} is an A/A experiment, whose variants are all alike; leave out settings and ranker, or use ab",
            field="variants",
        )
    if experiment.kind == "interleave" and len(variants) != 2:
        raise InvalidInput(f"{where} interleaves {len(variants)} variants; expected 2", field="variants")


def refuse_overlap(experiment: Experiment, others: Iterable[Experiment]) -> None:
    """Two experiments on one placement must not share units: neither could tell its effect from the other's."""
    same = sorted((one for one in others if one.running and one.placement == experiment.placement), key=begin)
    for other in same:
        if experiment.first < other.end - SLACK and other.first < experiment.end - SLACK:
            gap = free_place(same, experiment.share)
            remedy = (
                f"start it with first = {gap:g}"
                if gap is not None
                else f"give both smaller shares, or stop the other: endcap experiments stop {other.name}"
            )
            raise InvalidInput(
                f"experiment {experiment.name!r} takes {experiment.first:g} to {experiment.end:g} of the traffic of "
                f"{other.placement}, and {other.name!r} runs on {other.first:g} to {other.end:g}: their visitors would "
                f"overlap; {remedy}",
                field="first",
            )


def begin(experiment: Experiment) -> float:
    """Order of slices along the traffic."""
    return experiment.first


def free_place(taken: list[Experiment], share: float) -> float | None:
    """Where a slice of this size would fit beside ``taken`` (in order), None when nowhere."""
    at = 0.0
    for one in taken:
        if one.first - at >= share - SLACK:
            return at
        at = max(at, one.end)
    return at if 1.0 - at >= share - SLACK else None


def started(
    experiment: Experiment, others: list[Experiment], placements: Mapping[str, PlacementConfig], now: int
) -> Experiment:
    """The experiment as it runs from ``now`` (epoch ms) on, checked against all there are."""
    check(experiment, others, placements)
    return structs.replace(experiment, salt=experiment.salt or experiment.name, started_at=now, ended_at=0, stopped="")


def stopped(experiments: list[Experiment], name: str, reason: str, now: int) -> list[Experiment]:
    """All of them, one of which ends ``now``. ``NotFound`` for an unknown name, ``InvalidInput`` for an ended one."""
    known = {one.name: one for one in experiments}
    if name not in known:
        raise unknown(name, known)
    if not known[name].running:
        raise InvalidInput(f"experiment {name!r} has ended already: {known[name].stopped}", field="name")
    ended = structs.replace(known[name], ended_at=max(now, 1), stopped=reason)
    return [ended if one.name == name else one for one in experiments]
