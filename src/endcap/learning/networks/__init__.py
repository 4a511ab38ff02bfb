"""Networks: the trainers of deep models, one file each, all with the same ``fit``.

They need PyTorch (``pip install "endcap[torch]"``); what they give is served without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from endcap.config import DeepConfig
from endcap.engine import Progress, silent
from endcap.errors import ConfigError
from endcap.learning.sequences import Sequences
from endcap.models.network import Network
from endcap.types import Item


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a deep model is trained on."""

    sequences: Sequences
    records: Sequence[Item | None]  # catalogue record of each of ``sequences.item_ids``


def fit_network(
    model: str, lessons: Lessons, how: DeepConfig, meta: dict[str, Any] | None = None, progress: Progress = silent,
    checkpoints: Path | None = None,
) -> Network:  # fmt: skip
    """Train one of ``models.network.MODELS``. ``checkpoints``: a folder from which a run that was cut off goes on.

    ``TooFewExamples`` when there is not enough to learn from, ``ConfigError`` without PyTorch.
    """
    require_torch(model)
    trainer = import_module(f"endcap.learning.networks.{model}")
    network: Network = trainer.fit(lessons, how, meta or {}, progress, checkpoints)
    network.check()
    return network


def require_torch(model: str) -> None:
    """``ConfigError`` without PyTorch."""
    try:
        import torch  # noqa: F401
    except ImportError as missing:
        raise ConfigError(
            f"training {model} needs PyTorch; install it with: pip install 'endcap[torch]' (serving does not need it)"
        ) from missing
