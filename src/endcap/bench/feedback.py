"""``endcap bench feedback``: what logging and exploration cost the serving of slates, in one run on one server.

Three kinds of request, interleaved in every round at 64 connections: ``plain`` (``shown=0``: nothing is logged, nothing
tried out), ``logged`` (the same placement; each slate becomes an impression in the log and in the state) and
``explored`` (the same settings as two arms of a bandit, with 2 % of the places tried out, logged as well).
"""

from __future__ import annotations

from collections import defaultdict

from endcap.bench.environment import cpu_seconds
from endcap.bench.load import Closed, NextRequest
from endcap.bench.requests import queries
from endcap.bench.serve import event_loop_run, require_success
from endcap.bench.served import EXPLORED, Served, running
from endcap.bench.spread import Figures, Options, percentile, spread

CONNECTIONS = 64
KINDS = ("plain", "logged", "explored")
Rates = dict[str, list[float]]  # by kind, one figure per round


def kinds(served: Served) -> dict[str, NextRequest]:
    """What load is made of."""
    return {
        "plain": queries("/v1/recommend?shown=0", served.n_users, 31),
        "logged": queries("/v1/recommend", served.n_users, 31),
        "explored": queries("/v1/recommend", served.n_users, 31, EXPLORED),
    }


async def rounds_of(served: Served, rounds: int, seconds: float) -> tuple[Rates, Rates]:
    """Requests a second and server CPU microseconds a request, by kind and round."""
    load, traffic = Closed(served.host, served.port), kinds(served)
    rates: Rates = defaultdict(list)
    cpu: Rates = defaultdict(list)
    for kind, next_request in traffic.items():  # warm-up, not counted
        require_success(kind, await load.slice(CONNECTIONS, 1.0, next_request))
    for turn in range(rounds):
        order = KINDS[turn % 3 :] + KINDS[: turn % 3]  # nobody always follows the same neighbour
        for kind in order:
            before = cpu_seconds(served.pid)
            tally = await load.slice(CONNECTIONS, seconds, traffic[kind])
            require_success(kind, tally)
            rates[kind].append(tally.rate)
            cpu[kind].append((cpu_seconds(served.pid) - before) / max(tally.done, 1) * 1e6)
    load.close()
    return rates, cpu


def measure(options: Options) -> Figures:
    """Interleaved rounds on one server."""
    rounds, seconds = (6, 0.6) if options.quick else (15, 1.0)
    n_events = 300_000 if options.quick else 2_000_000
    options.say(f"  starting a server with {options.items:,} items and {n_events:,} synthetic events")
    with running(options.items, n_events) as served:
        rates, cpu = event_loop_run(rounds_of(served, rounds, seconds))
    values: dict[str, float] = {}
    for kind in KINDS:
        over = [ours / plain for ours, plain in zip(rates[kind], rates["plain"], strict=True)]
        options.say(
            f"  {kind:<9} {spread(rates[kind], 0)} /s, over plain {spread(over, 3)}, "
            f"server CPU {percentile(cpu[kind], 50):,.0f} us"
        )
        values[f"{kind}_rps"] = percentile(rates[kind], 50)
        values[f"{kind}_cpu_us"] = percentile(cpu[kind], 50)
        values[f"{kind}_over_plain"] = percentile(over, 50)
    return Figures("feedback", values, {"explored_over_plain": ("min", 0.90)})
