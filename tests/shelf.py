"""Builders shared by the tests of the catalogue, the interest and the slate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from endcap.config import CatalogueConfig
from endcap.features.catalogue import Catalogue
from endcap.preprocess.ids import Ids
from endcap.types import I4, Item

T0 = 1_700_000_000_000  # epoch ms


def stocked(records: Iterable[Item], config: CatalogueConfig | None = None) -> Catalogue:
    """A catalogue that holds the records, put one second apart from T0."""
    catalogue = Catalogue(Ids(), config)
    for k, record in enumerate(records):
        put(catalogue, record, T0 + 1000 * k)
    return catalogue


def put(catalogue: Catalogue, record: Item, ts: int = T0) -> int:
    """Intern and put one record; gives its dense id."""
    dense = catalogue.items.intern(record.item_id)
    catalogue.put(dense, record, ts)
    return dense


def item(item_id: str, **fields: Any) -> Item:
    return Item(item_id=item_id, **fields)


def dense(*ids: int) -> I4:
    return np.array(ids, np.int32)
