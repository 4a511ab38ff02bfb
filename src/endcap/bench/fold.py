"""``endcap bench fold``: how many events a second one core folds, all families together, and which family takes it.

Columns go through ``State.learn`` in batches of 100,000, as in a replay; then one event at a time, as live. Decoding
and the log are not in these figures; ``bench restart`` measures them.
"""

from __future__ import annotations

from time import perf_counter

from endcap.batches import EventBatch
from endcap.bench import synthetic
from endcap.bench.preload import CHUNK, intern_names, traffic
from endcap.bench.spread import Figures, Options, percentile, spread
from endcap.bench.timed import Timed
from endcap.config import Config
from endcap.runtime import SystemClock
from endcap.state import State

FAMILIES = (
    "cleaner", "catalogue", "histories", "counters", "covisit", "sessions", "neighbours", "exposure",
)  # fmt: skip


def fold_all(state: State, batch: EventBatch) -> list[float]:
    """Events per second of each chunk."""
    rates = []
    for start in range(0, len(batch), CHUNK):
        rows = synthetic.part(batch, start, start + CHUNK)
        began = perf_counter()
        state.learn(rows)
        rates.append(len(rows) / (perf_counter() - began))
    return rates


def live_cost(state: State, batch: EventBatch, n: int) -> list[float]:
    """Microseconds of each of ``n`` folds of one event."""
    costs = []
    for at in range(n):
        row = synthetic.part(batch, at, at + 1)
        began = perf_counter()
        state.learn(row)
        costs.append((perf_counter() - began) * 1e6)
    return costs


def new_state(n_items: int, n_users: int) -> State:
    """A state that knows names and no events."""
    state = State(Config())
    intern_names(state, n_items, n_users)
    state._make_room()
    return state


def measure(options: Options) -> Figures:
    """Fold the same traffic in several fresh states; the first one also compiles and is not counted."""
    n_events, rounds = (400_000, 3) if options.quick else (2_000_000, 3)
    n_users = n_events // 12
    batch = traffic(n_events, options.items, n_users, SystemClock().now())
    options.say(f"  {n_events:,} events, {options.items:,} items, {n_users:,} users; compiling first")
    fold_all(new_state(options.items, n_users), synthetic.part(batch, 0, 5_000))

    rates: list[float] = []
    for _ in range(rounds):
        state = new_state(options.items, n_users)
        rates += fold_all(state, batch)
    options.say(f"  per chunk of {CHUNK:,}: {spread(rates, 0)} events/s")

    state = new_state(options.items, n_users)
    timers = {name: Timed(getattr(state, name)) for name in FAMILIES}
    for name, timer in timers.items():
        setattr(state, name, timer)
    fold_all(state, batch)
    each = {name: round(timer.seconds / n_events * 1e6, 3) for name, timer in timers.items()}
    options.say("  microseconds per event: " + ", ".join(f"{name} {cost}" for name, cost in each.items()))

    live = live_cost(new_state(options.items, n_users), batch, 2_000)[200:]
    options.say(f"  one event at a time: {spread(live)} us")
    return Figures(
        "fold",
        {
            "events_per_s": percentile(rates, 50),
            "events_per_s_p10": percentile(rates, 10),
            "events_per_s_p90": percentile(rates, 90),
            "one_event_p50_us": percentile(live, 50),
            "one_event_p99_us": percentile(live, 99),
            "families_us": each,
        },
        {"events_per_s": ("min", 200_000), "one_event_p50_us": ("max", 40)},
    )
