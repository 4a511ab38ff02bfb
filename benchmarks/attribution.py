"""How much feedback is joined to its slate when it is late, doubled, reordered, or ahead of the slate itself.

python benchmarks/attribution.py [--slates 60000] [--seed 1]

Slates and the clicks, carts and purchases that name them are made, shuffled as a bad network would (up to two hours
late, a tenth before their slate, a tenth told twice under different ids; the same id twice never gets past the log),
folded in batches of random size, with restarts from snapshots in between. Prints the share joined and what was
credited twice. tests/test_crash.py does the same under kill -9, tests/test_attribution.py against an oracle.
"""

from __future__ import annotations

import argparse

import numpy as np

from endcap.config import Config
from endcap.state import State
from endcap.types import Event, Impression, Interaction, Shown, Stored

START_MS = 1_760_000_000_000
DEEDS = ("click", "cart_add", "purchase")


def events(n: int, rng: np.random.Generator) -> tuple[list[Event], int]:
    """Events in the order of arrival without repeated ids, and how many deeds were done."""
    arriving: list[tuple[float, Event]] = []
    deeds = 0
    for k in range(n):
        at = START_MS + k * 200
        items = [f"i{item}" for item in rng.permutation(400)[:8]]
        slate = Impression.of(
            [Shown(item, place) for place, item in enumerate(items)], event_id=f"imp:r{k}", request_id=f"r{k}", ts=at,
            received_at=at, user_id=f"u{k}",
        )  # fmt: skip
        arriving.append((at, slate))
        for step, deed in enumerate(DEEDS[: rng.choice([0, 1, 2, 3], p=[0.4, 0.3, 0.2, 0.1])]):
            deeds += 1
            done = at + 5_000 * (step + 1)
            arrives = (
                at - float(rng.uniform(0, 60_000)) if rng.random() < 0.1 else done + float(rng.exponential(600_000))
            )
            arrives = min(arrives, done + 7_200_000)
            for again in range(2 if rng.random() < 0.1 else 1):
                event = Interaction(
                    type=deed,  # type: ignore[arg-type]  # one of the names above
                    event_id=f"e{k}.{step}.{again}", ts=done + 3_000 * again, received_at=max(round(arrives), done),
                    user_id=f"u{k}", item_id=items[step % 8], request_id=f"r{k}",
                )  # fmt: skip
                arriving.append((arrives + 10_000 * again, event))
    arriving.sort(key=lambda pair: pair[0])
    return [event for _, event in arriving], deeds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slates", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    stream, deeds = events(given.slates, rng)
    state, at = State(Config()), 0
    while at < len(stream):
        size = int(rng.choice([1, 3, 50, 2_000]))
        state.fold([Stored(at + k + 1, event) for k, event in enumerate(stream[at : at + size])])
        at += size
        if rng.random() < 0.02:  # a restart from a snapshot
            other = State(Config())
            other.load(state.offset, {name: array.copy() for name, array in state.arrays().items()})
            state = other
    tally = state.slates.tally()
    named = sum(isinstance(event, Interaction) for event in stream)
    joined = tally["by_request"] + tally["waited"]
    credited = int(np.unpackbits(state.slates.rows["done"]).sum())
    print(f"{given.slates:,} slates, {named:,} events that name them, {tally['waited']:,} of them ahead of their slate")
    print(f"joined {joined:,} of {named:,} ({joined / named:.4%}); bar 99.99 %")
    print(f"deeds {deeds:,}, credited {credited:,}: {credited - deeds:+,} twice; bar 0")


if __name__ == "__main__":
    main()
