"""What is asked, when, and what would have been right: the protocols as lists of queries.

* ``prequential`` (test then train, the headline): the query comes right before the event it must predict, the event is
  folded right after. Warm-up is the first 70 % of the time, the rest is the test window.
* ``sessions``: sessions of the test split (or of the test window); each event from the second on is a target. What
  other shoppers do in the test window is not learned; the shopper's own events are known at once.
* ``temporal``: as ``sessions``, for every event of the test window: trained before a moment, judged after it.
* ``leave-one-out``: each user's last item, everything else learned, items the user already has left out. It knows the
  future of other users; kept only to compare with old papers, and labelled so.

Targets: ``next`` (the next view, or the next purchase line where nothing is viewed), ``cart``, ``purchase`` (the next
event of that kind), ``buy24h`` (asked before every event: everything the shopper carts or buys within 24 hours),
``basket`` (asked before the first line of a basket: all of its items).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from endcap.errors import InvalidInput
from endcap.evaluation.dataset import TEST, Dataset, usual_action
from endcap.types import ACTION_CODE, I4, I8

Protocol = Literal["prequential", "sessions", "temporal", "leave-one-out"]
Target = Literal["next", "cart", "purchase", "buy24h", "basket"]
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
TARGETS: tuple[str, ...] = get_args(Target)

WARM_UP = 0.7  # share of the time that is learned before the test begins
LEARNED = 0.9  # share of the events that is learned before, where the split is by events (temporal)
TUNING = 0.1  # last share of the warm-up that is the test window of a tuning run
DAY_MS = 86_400_000
EXAMPLES = 12_000  # queries of the warm-up that a ranker is trained on
CART_ADD, PURCHASE = ACTION_CODE["cart_add"], ACTION_CODE["purchase"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Queries in order. ``relevant[ends[q-1]:ends[q]]`` are the item codes that answer query q."""

    protocol: str
    target: str
    fold: I8  # events that are folded, as positions in the data set, in order
    at: I8  # [q] the query comes after fold[:at[q]]
    ts: I8  # [q] time of the query, epoch ms
    event: I8  # [q] position in the data set of the event that made the query due
    ends: I8  # [q]
    relevant: I4
    begin: int  # fold[:begin] is the warm-up
    shared_frozen: bool = False  # other shoppers' test events are not learned
    seen: Literal["keep", "drop"] = "keep"

    def __len__(self) -> int:
        return int(self.at.shape[0])

    def answers(self, q: int) -> I4:
        """Item codes that answer query q."""
        return self.relevant[int(self.ends[q - 1]) if q else 0 : int(self.ends[q])]


def make_plan(
    data: Dataset, protocol: str, target: str, *, limit: int = 0, tuning: bool = False, seed: int = 0
) -> Plan:
    """The queries of one run; ``limit`` > 0 keeps a random sample of that many, in order.

    ``tuning`` puts the test window into the last tenth of the warm-up and hides the real one.
    """
    for word, words, field in ((protocol, PROTOCOLS, "protocol"), (target, TARGETS, "target")):
        if word not in words:
            raise InvalidInput(f"no {field} {word!r}; expected one of {', '.join(words)}", field=field)
    if protocol == "leave-one-out":
        return sample(leave_one_out(data), limit, seed)
    begin, end = window(data, protocol, tuning)
    due, answers = due_events(data, target, begin, end)
    if protocol == "sessions":
        keep = position_in_session(data)[due] > 0
        if data.split.any() and not tuning:
            keep &= data.split[due] == TEST
        else:
            keep &= session_start(data)[due] >= begin
        due, answers = due[keep], [answers[k] for k in np.flatnonzero(keep)]
    if not due.shape[0]:
        raise InvalidInput(f"{data.name} has no {target!r} target in the test window of {protocol!r}", field="target")
    plan = Plan(
        protocol, target, np.arange(end, dtype=np.int64), due, data.ts[due], due,
        np.cumsum([a.shape[0] for a in answers]), np.concatenate(answers), begin,
        shared_frozen=protocol in ("sessions", "temporal"),
    )  # fmt: skip
    return sample(plan, limit, seed)


def window(data: Dataset, protocol: str, tuning: bool) -> tuple[int, int]:
    """First and last + 1 position of the test window."""
    if protocol == "sessions" and (data.split == TEST).any():
        end = len(data)
        begin = int(np.flatnonzero(data.split == TEST)[0])
    elif protocol == "temporal":  # by events, as the literature splits: of a log that grows, the time holds little
        end = len(data)
        begin = int(np.searchsorted(data.ts, data.ts[int(LEARNED * end)]))
    else:
        first, last = int(data.ts[0]), int(data.ts[-1])
        begin, end = int(np.searchsorted(data.ts, first + WARM_UP * (last - first))), len(data)
    if tuning:
        first, cut = int(data.ts[0]), int(data.ts[begin - 1])
        since = data.ts[int((1.0 - TUNING) * begin)] if protocol == "temporal" else cut - TUNING * (cut - first)
        begin, end = int(np.searchsorted(data.ts, since)), begin
    return begin, end


def due_events(data: Dataset, target: str, begin: int, end: int) -> tuple[I8, list[I4]]:
    """Events in the window that a query precedes, and the item codes that answer it."""
    span = np.arange(begin, end)
    if target == "basket":
        return baskets(data, begin, end)
    if target == "buy24h":
        return buys_within(data, span, end)
    kinds = {"next": usual_action(data), "cart": (CART_ADD,), "purchase": (PURCHASE,)}[target]
    due = span[np.isin(data.action[begin:end], kinds)]
    return due, [data.item[k : k + 1] for k in due]


def buys_within(data: Dataset, asked: I8, end: int) -> tuple[I8, list[I4]]:
    """For each moment the distinct items that its shopper carts or buys within 24 hours, if any."""
    bought = np.flatnonzero(np.isin(data.action[:end], (CART_ADD, PURCHASE)))
    by_user = bought[np.argsort(data.user[bought], kind="stable")]
    starts = np.searchsorted(data.user[by_user], np.arange(len(data.user_names) + 1))
    due, answers = [], []
    for k in asked.tolist():
        mine = by_user[starts[data.user[k]] : starts[data.user[k] + 1]]
        first = np.searchsorted(mine, k)
        last = np.searchsorted(data.ts[mine], data.ts[k] + DAY_MS, "right")
        if first < last:
            due.append(k)
            answers.append(np.unique(data.item[mine[first:last]]))
    return np.array(due, np.int64), answers


def baskets(data: Dataset, begin: int, end: int) -> tuple[I8, list[I4]]:
    """First line of each basket of the window, and the basket's distinct items."""
    lines = np.flatnonzero((data.action[:end] == PURCHASE) & (data.session[:end] >= 0))
    lines = lines[np.argsort(data.session[lines], kind="stable")]
    cuts = np.flatnonzero(np.diff(data.session[lines], prepend=-1))
    parts = [part for part in np.split(lines, cuts[1:]) if part.shape[0] and part[0] >= begin]
    parts.sort(key=lambda part: int(part[0]))
    return np.array([part[0] for part in parts], np.int64), [np.unique(data.item[part]) for part in parts]


def leave_one_out(data: Dataset) -> Plan:
    """The test split if the set has one, else each user's last event; asked when all else is folded."""
    test = data.split == TEST
    if not test.any():
        last = np.full(len(data.user_names), -1, np.int64)
        last[data.user] = np.arange(len(data))
        test = np.zeros(len(data), bool)
        test[last[last >= 0]] = True
        test &= np.bincount(data.user)[data.user] > 1
    fold = np.flatnonzero(~test)
    targets = np.flatnonzero(test)
    targets = targets[np.argsort(data.user[targets], kind="stable")]
    parts = np.split(targets, np.flatnonzero(np.diff(data.user[targets])) + 1)
    first = np.array([part[0] for part in parts], np.int64)
    answers = [np.unique(data.item[part]) for part in parts]
    n = len(parts)
    return Plan(
        "leave-one-out", "next", fold, np.full(n, fold.shape[0], np.int64), np.full(n, data.ts[-1] + 1000), first,
        np.cumsum([a.shape[0] for a in answers]), np.concatenate(answers), fold.shape[0], seen="drop",
    )  # fmt: skip


def training_plan(data: Dataset, plan: Plan, *, n: int = EXAMPLES, seed: int = 0) -> Plan:
    """Queries of the same kind as the test's from the newer half of the warm-up, at most ``n``; maybe none."""
    warm = plan.fold[: plan.begin]
    first, last = int(data.ts[warm[0]]), int(data.ts[warm[-1]])
    half = data.ts[warm[warm.shape[0] // 2]] if plan.protocol == "temporal" else (first + last) // 2
    begin, end = int(np.searchsorted(data.ts, half)), int(warm[-1]) + 1
    due, answers = due_events(data, plan.target, begin, end)
    keep = np.isin(due, warm)
    if plan.protocol == "sessions":
        keep &= position_in_session(data)[due] > 0
    due, answers = due[keep], [answers[k] for k in np.flatnonzero(keep)]
    return sample(
        Plan(
            plan.protocol, plan.target, plan.fold, np.searchsorted(warm, due).astype(np.int64), data.ts[due], due,
            np.cumsum([a.shape[0] for a in answers], dtype=np.int64),
            np.concatenate(answers) if answers else np.zeros(0, np.int32), plan.begin,
        ), n, seed,
    )  # fmt: skip


def sample(plan: Plan, limit: int, seed: int) -> Plan:
    """A random subset of the queries, in order. All events are still folded."""
    if not 0 < limit < len(plan):
        return plan
    chosen = np.sort(np.random.default_rng(seed).choice(len(plan), limit, replace=False))
    answers = [plan.answers(int(q)) for q in chosen]
    return Plan(
        plan.protocol, plan.target, plan.fold, plan.at[chosen], plan.ts[chosen], plan.event[chosen],
        np.cumsum([a.shape[0] for a in answers]), np.concatenate(answers), plan.begin, plan.shared_frozen, plan.seen,
    )  # fmt: skip


def running_count(keys: I8) -> I8:
    """For each entry how many earlier entries have the same key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    lengths = np.diff(np.append(starts, keys.shape[0]))
    within = np.arange(keys.shape[0]) - np.repeat(starts, lengths)
    out = np.empty(keys.shape[0], np.int64)
    out[order] = within
    return out


def position_in_session(data: Dataset) -> I8:
    """0 for a session's first event; 0 throughout for events without a session."""
    count = running_count(data.session.astype(np.int64))
    return np.where(data.session >= 0, count, 0)


def session_start(data: Dataset) -> I8:
    """By event: position of its session's first event."""
    first = np.full(len(data.session_names) + 1, len(data), np.int64)
    np.minimum.at(first, data.session, np.arange(len(data)))
    return first[data.session]
