"""Fitting: the one training loop of deep models.

A model gives a ``Course``: the losses of one pass, and how good the network is by now on what was held out. The loop
takes steps (Adam: Kingma and Ba, ICLR 2015; or what the model brings), keeps the best state, and stops after
``patience`` passes that were no better, or when the time is over. After every pass all of it is written to a file, so a
run that was cut off goes on where it was; a file of other settings or other data is left alone.

Cost: the model's own. The same data, seed and number of threads give the same network, unless time runs out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from endcap.config import DeepConfig
from endcap.engine import Progress, silent

PATIENCE = 4
LARGEST_STEP = 5.0  # norm of a gradient


class Course(Protocol):
    """What a model is taught."""

    def __len__(self) -> int:
        """Batches of one pass."""
        ...

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """The loss of every batch of a pass, each computed when it is asked for."""
        ...

    def judge(self) -> float:
        """How good the network is on what was held out; higher is better."""
        ...


def train(
    name: str, net: nn.Module, course: Course, how: DeepConfig, *, rate: float,
    steps: torch.optim.Optimizer | None = None, patience: int = PATIENCE, clip: float = LARGEST_STEP,
    mark: bytes = b"", progress: Progress = silent, checkpoints: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Teach ``net``, which ends in its best state. Gives passes, seconds and the best judgement.

    ``steps``: an optimizer of its parameters instead of Adam at ``rate``. ``clip``: largest norm of a gradient, 0 =
    any.
    ``mark``: what is taught, as a few bytes; a run that was cut off goes on only with the same.
    """
    torch.set_num_threads(how.threads)
    steps = steps or torch.optim.Adam(net.parameters(), lr=rate)
    file = checkpoints / f"{name}.pt" if checkpoints else None
    state = resumed(file, net, steps, fingerprint(net, how, str(len(course)).encode() + mark))
    began = perf_counter() - state["seconds"]
    while state["epoch"] < how.epochs and state["epoch"] - state["best_epoch"] < patience:
        if perf_counter() - began > 60.0 * how.minutes:
            break
        torch.manual_seed(how.seed + state["epoch"])
        net.train()
        for n, loss in enumerate(course.losses(state["epoch"])):
            steps.zero_grad(set_to_none=True)
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            steps.step()
            progress(f"{name} pass {state['epoch'] + 1}", n + 1, len(course))
            if n % 20 == 0 and perf_counter() - began > 60.0 * how.minutes:
                break
        net.eval()
        with torch.no_grad():
            found = course.judge()
        state["epoch"] += 1
        if found > state["judged"]:
            state["judged"], state["best_epoch"] = found, state["epoch"]
            state["best"] = {key: one.detach().clone() for key, one in net.state_dict().items()}
        state["seconds"] = perf_counter() - began
        if file is not None:
            kept(file, {**state, "net": net.state_dict(), "steps": steps.state_dict()})
    net.load_state_dict(state["best"])
    net.eval()
    return {"epochs": state["best_epoch"], "seconds": round(state["seconds"], 1), "judged": round(state["judged"], 4)}


def fingerprint(net: nn.Module, how: DeepConfig, taught: bytes) -> str:
    """A short hash of what must be equal for a run to go on."""
    facts = [msgspec.json.encode(how), taught]
    for key, one in net.state_dict().items():
        facts.append(f"{key}{tuple(one.shape)}".encode())
        facts.append(np.ascontiguousarray(one.detach().numpy().reshape(-1)[:64]).tobytes())
    return hashlib.blake2b(b"|".join(facts), digest_size=8).hexdigest()


def resumed(file: Path | None, net: nn.Module, steps: torch.optim.Optimizer, mark: str) -> dict[str, Any]:
    """Where a run stands: at its beginning, or where the file says."""
    fresh = {
        "mark": mark, "epoch": 0, "best_epoch": 0, "judged": -1.0, "seconds": 0.0,
        "best": {key: one.detach().clone() for key, one in net.state_dict().items()},
    }  # fmt: skip
    if file is None or not file.exists():
        return fresh
    try:
        found: dict[str, Any] = torch.load(file, weights_only=True)
    except Exception:  # cut off while it was written, or of another version
        return fresh
    if found.get("mark") != mark:
        return fresh
    net.load_state_dict(found.pop("net"))
    steps.load_state_dict(found.pop("steps"))
    return found


def kept(file: Path, state: dict[str, Any]) -> None:
    """Write beside and rename: a reader sees the old file or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    torch.save(state, beside)
    beside.replace(file)
