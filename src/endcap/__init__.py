"""Endcap: real-time personalization for shops. The next answer already knows the last click.

    from endcap import Engine, Interaction, Query

    with Engine.open("./shop-data") as engine:
        engine.observe([Interaction(type="view", user_id="ada", item_id="teapot")])
        slate = engine.recommend(Query(user_id="ada", n=5))

This module is the public surface. Names load on first use, so that ``import endcap`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from endcap.config import Config, load_config
    from endcap.engine import Engine
    from endcap.errors import EndcapError
    from endcap.types import (
        Ack,
        Context,
        Event,
        Impression,
        Interaction,
        InterestChange,
        InterestView,
        Item,
        ItemChange,
        Placed,
        Query,
        Reason,
        Refusal,
        Slate,
        User,
        UserChange,
        VectorChange,
    )

__version__ = "0.1.0"

_HOME = {
    "Config": "config",
    "load_config": "config",
    "Engine": "engine",
    "EndcapError": "errors",
}

__all__ = [
    "Ack",
    "Config",
    "Context",
    "EndcapError",
    "Engine",
    "Event",
    "Impression",
    "Interaction",
    "InterestChange",
    "InterestView",
    "Item",
    "ItemChange",
    "Placed",
    "Query",
    "Reason",
    "Refusal",
    "Slate",
    "User",
    "UserChange",
    "VectorChange",
    "load_config",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'endcap' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"endcap.{_HOME.get(name, 'types')}"), name)
