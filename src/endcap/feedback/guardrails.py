"""Guardrails: an experiment ends by itself when a variant harms the service.

Idea: every guardrail is a share of slates. "p99 above 50 ms" is "more than 1 % of slates took longer than 50 ms";
errors and empty slates are shares anyway. A share breaks its rail when it is over it by three standard errors of a
share that is just at it, so that a handful of slow slates in a quiet minute does not end an experiment.

What the first variant suffers as well is the server's trouble, not the experiment's: then nothing is stopped.

When not to use it: for what takes days to show (returns, cancellations); look at the results for those.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct

MIN_SLATES = 200  # of a variant, in the time looked at
DEVIATIONS = 3.0
SLOW_SHARE = 0.01  # p99


class Guardrails(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a variant may cost the service; beyond it the experiment stops. None = not watched."""

    max_p99_ms: float | None = 250.0  # time to answer, without the network
    max_error_share: float | None = 0.01  # of slates that failed
    max_empty_share: float | None = 0.2  # of slates without an item


class Measured(Struct, frozen=True, kw_only=True):
    """What one variant did lately: numbers of slates."""

    slates: int  # asked for, failed ones included
    slow: int = 0  # took longer than ``max_p99_ms``
    failed: int = 0
    empty: int = 0


def check(guardrails: Guardrails, measured: Mapping[str, Measured]) -> str | None:
    """Why the experiment must stop, None while it may go on.

    ``measured`` by variant, the first one first; a single one (interleaving) has nobody to share its troubles.
    """
    first, *others = [*measured.items()] or [("", Measured(slates=0))]
    for name, of in others or [first]:
        excuse = first[1] if others else Measured(slates=0)
        for (rail, limit, share, count), (_, _, _, same) in zip(
            rails(guardrails, of), rails(guardrails, excuse), strict=True
        ):
            if over(count, of.slates, share) and not over(same, excuse.slates, share):
                return f"guardrail {rail}: {count} of the last {of.slates} slates of {name} {limit}"
    return None


def rails(guardrails: Guardrails, of: Measured) -> list[tuple[str, str, float, int]]:
    """The rails that are watched: name, words, allowed share, slates beyond."""
    found = []
    if guardrails.max_p99_ms is not None:
        found.append(("max_p99_ms", f"took longer than {guardrails.max_p99_ms:g} ms", SLOW_SHARE, of.slow))
    if guardrails.max_error_share is not None:
        share = guardrails.max_error_share
        found.append(("max_error_share", f"failed, {share:g} of them may", share, of.failed))
    if guardrails.max_empty_share is not None:
        share = guardrails.max_empty_share
        found.append(("max_empty_share", f"were empty, {share:g} of them may be", share, of.empty))
    return found


def over(count: int, n: int, share: float) -> bool:
    """Whether ``count`` of ``n`` is clearly more than a share."""
    return n >= MIN_SLATES and count - n * share > DEVIATIONS * math.sqrt(n * share * (1.0 - share))
