"""Everything compiled before the first visitor: a tiny shop lives for a moment in an engine of its own.

The kernels are compiled at their first call (and cached on disk for the next start). A few events of every kind and one
question per placement, against a log in memory, pass through all of them, and touch no real state.
"""

from __future__ import annotations

import msgspec

from endcap.config import Config, ExploreConfig, PlacementConfig, Rule
from endcap.engine import Engine, Progress, silent
from endcap.models.forest import feature_name
from endcap.models.tree_ranker import Head, TreeRanker
from endcap.runtime import Runtime, VirtualClock
from endcap.stores.memory import MemoryLog
from endcap.types import ActionName, Context, Interaction, Item, Query

T0 = 1_700_000_000_000  # any moment
TRIED = "warm-up"  # a placement with arms and exploration


def warm_up(config: Config, progress: Progress = silent) -> None:
    """Call every kernel once; seconds on a machine that never ran this version, a moment after that."""
    clock = VirtualClock(T0)
    rule = Rule(name="warm-up", action="boost", items=["i1"])
    tried = PlacementConfig(sources=["popular"], arms={"a": {}, "b": {}}, explore=ExploreConfig(share=0.5))
    own = msgspec.structs.replace(config, rules=[rule], static_items=[], placements={**config.placements, TRIED: tried})
    steps = len(config.placements) + 2
    with Engine(MemoryLog(), own, Runtime(clock, seed=1)) as shop:
        shop.put_items([Item(item_id=f"i{n}", brand="b", price=1.0 + n, categories=[["c", "d"]]) for n in range(4)])
        progress("warm-up", 1, steps)
        for event in events():
            clock.ts = event.ts
            shop.observe([event])
        for shopper in ("u0", "u1", "u2"):
            seen = shop.serve(Query(user_id=shopper, placement=TRIED))
            click = Interaction(type="click", ts=clock.ts, user_id=shopper, item_id=seen.items[0].item_id)
            shop.observe([click, msgspec.structs.replace(click, type="rating", value=1.0, request_id=seen.request_id)])
        progress("warm-up", 2, steps)
        for done, placement in enumerate(config.placements):
            for user_id in ("u0", None):
                shop.recommend(
                    Query(
                        user_id=user_id,
                        placement=placement,
                        items=["i0"],
                        context=Context(device="mobile", region="r"),
                        filter={"eq": {"brand": "b"}},
                        explain=True,
                    )
                )
            progress("warm-up", done + 3, steps)
        shop.use_ranker(TreeRanker("warm-up", shop.columns, [Head("click", one_tree(shop.columns), 1.0, 0.0, 1.0)]))
        shop.recommend(Query(user_id="u0", explain=True))
        shop.interest("u0")
        shop.findings(Query(user_id="u0"))
        shop.findings(Query(user_id="u0"), "i3")
        shop.similar_users("u0")
        shop.put_items([Item(item_id="i4", title="candles")])
        shop.search("candel c", Query(user_id="u0"))


def one_tree(columns: tuple[str, ...]) -> str:
    """A model of two leaves in LightGBM's text: after it no trained ranker waits for the compiler."""
    fields = {
        "num_leaves": 2, "num_cat": 0, "split_feature": 0, "threshold": 0.5, "decision_type": 2, "left_child": -1,
        "right_child": -2, "leaf_value": "0.1 0.2", "internal_value": 0.15, "is_linear": 0,
    }  # fmt: skip
    tree = "\n".join(f"{name}={value}" for name, value in fields.items())
    names = " ".join(feature_name(column) for column in columns)
    return f"tree\nversion=v4\nfeature_names={names}\n\nTree=0\n{tree}\n\nend of trees\n"


def events() -> list[Interaction]:
    """Three shoppers, two of whom want the same things; one comes back after a while and says who they are."""
    actions: tuple[ActionName, ...] = ("view", "cart_add", "purchase")
    found = []
    for user in range(3):
        for step in range(4):
            found.append(
                Interaction(
                    type=actions[step % 3],
                    ts=T0 + 1_000 * (10 * user + step),
                    user_id=f"u{user}" if user < 2 else None,
                    anon_id="a" if user == 2 else None,
                    item_id=f"i{step}",
                    price=2.0,
                    context=Context(device="mobile", region="r", utc_offset_min=60),
                )
            )
    link = Interaction(type="view", ts=T0 + 7_200_000, user_id="u2", anon_id="a", item_id="i0")
    return [*found, link]
