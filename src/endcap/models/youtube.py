"""YouTube's two stages: a candidate network over the mean of what was touched, and a ranking network over rows.

Candidates (Covington, Adams, Sargin, Deep Neural Networks for YouTube Recommendations, RecSys 2016): the mean of the
vectors of the last items, how long ago the newest was, the moment (hour, weekday, device), and the age of the example
go through two hidden layers; softmax(vectors . user) is what comes next. The example's age lets training say "this was
popular then": at a request it is 0, so the model speaks of now and not of the mean of the training window.

    x = [mean | moment | r, r^2, sqrt r | a, sqrt a]   r = log(1 + s since the newest) in steps, a = days before the end
    user = W3 relu(W2 relu(W1 x + b1) + b2) + b3

The ranking network is a ranker over feature rows, as the trees are: it is trained in learning/networks/ranking.py and
served by models/plugged.py.

Layout of the artifact: ``vectors``, ``inputs`` [n, dim], the matrices by name (``MATRICES``). What is remembered of a
shopper is the mean; the layers run at the request, for how long ago depends on it. Cost: 16 + 24 us and
one search. Memory: 8 bytes x dim an item. Not for: items that were not there at training (two_tower has them at once),
nor what order says.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from endcap.errors import ArtifactError
from endcap.models.network import Network, NetworkSource, Rings, Window
from endcap.models.two_tower import WEEKDAYS, weekday_of
from endcap.types import DEVICES, F4, Arrays, Interest

MOMENT = 16  # numbers that say hour, weekday and device
NUMBERS = 5  # of recency and age
LONGEST = 20.7  # log(1 + seconds) of ever: 2^30 s
STEP_S = 60.0  # length of the first step of recency; each later one is as long as all before it and this
DAYS = 30.0  # ages count in this many days
MATRICES = ("hour", "weekday", "device", "w1", "b1", "w2", "b2", "w3", "b3")


@njit(cache=True, nogil=True)
def layer(x: F4, w: F4, b: F4, out: F4) -> None:
    """out = w' x + b, for ``w`` [in, out]."""
    out[:] = b
    for d in range(x.shape[0]):
        if x[d] != 0.0:
            for h in range(out.shape[0]):
                out[h] += x[d] * w[d, h]


@njit(cache=True, nogil=True)
def user_of(x: F4, w1: F4, b1: F4, w2: F4, b2: F4, w3: F4, b3: F4, first: F4, second: F4, out: F4) -> None:
    """out = the user vector of inputs x."""
    layer(x, w1, b1, first)
    np.maximum(first, np.float32(0.0), first)
    layer(first, w2, b2, second)
    np.maximum(second, np.float32(0.0), second)
    layer(second, w3, b3, out)


def recency(since_s: float) -> float:
    """Seconds since the newest behaviour, from 0 to 1, in steps: a minute, two, four, eight ...

    Within a step a shopper's vector stays the same, and with it the answer that was found at the event.
    """
    step = math.floor(math.log2(1.0 + max(0.0, since_s) / STEP_S))
    return math.log1p(STEP_S * (2.0**step - 1.0)) / LONGEST


class YoutubeSource(NetworkSource):
    """Proposes by the candidate network."""

    name = "youtube"

    def __init__(self, rings: Rings) -> None:
        super().__init__(rings)
        self._arrays: Arrays = {}

    def open(self, network: Network) -> None:
        """Matrices at hand."""
        self._arrays = checked(network)
        self._dim = network.vectors.shape[1]
        self._x: F4 = np.zeros(self._dim + MOMENT + NUMBERS, np.float32)
        self._first: F4 = np.zeros(self._arrays["b1"].shape[0], np.float32)
        self._second: F4 = np.zeros(self._arrays["b2"].shape[0], np.float32)

    def encode(self, window: Window) -> F4:
        """The mean [dim] of the window's input vectors."""
        found: F4 = self._arrays["inputs"][window.place].mean(axis=0)
        return found

    def at_moment(self, user_vector: F4 | None, interest: Interest) -> F4:
        """The user vector of this request."""
        arrays, x, dim = self._arrays, self._x, self._dim
        x[:dim] = 0.0 if user_vector is None else user_vector
        moment = arrays["weekday"][weekday_of(interest.t_s)] + arrays["device"][interest.device]
        if interest.hour >= 0:
            moment = moment + arrays["hour"][interest.hour]
        x[dim : dim + MOMENT] = moment
        r = 1.0 if user_vector is None else recency(since_newest(interest))
        x[dim + MOMENT :] = (r, r * r, math.sqrt(r), 0.0, 0.0)  # an example of now has no age
        out = np.empty(dim, np.float32)
        user_of(
            x, arrays["w1"], arrays["b1"], arrays["w2"], arrays["b2"], arrays["w3"], arrays["b3"],
            self._first, self._second, out,
        )  # fmt: skip
        return out


def since_newest(interest: Interest) -> float:
    """Seconds since the shopper's newest touch, 0 when the query names items."""
    if interest.n_context or not interest.n_seeds:
        return 0.0
    return float(interest.age_s[: interest.n_seeds].min())


def checked(network: Network) -> Arrays:
    """The arrays of a network. ``ArtifactError`` unless they fit each other."""
    n, dim = network.vectors.shape
    missing = [name for name in ("inputs", *MATRICES) if name not in network.arrays]
    if missing:
        raise ArtifactError(f"the youtube model lacks {', '.join(missing)}; train again: endcap train youtube")
    arrays = {name: np.ascontiguousarray(network.arrays[name], np.float32) for name in ("inputs", *MATRICES)}
    j, k = arrays["b1"].shape[0], arrays["b2"].shape[0]
    shapes: dict[str, tuple[int, ...]] = {
        "inputs": (n, dim), "hour": (24, MOMENT), "weekday": (WEEKDAYS, MOMENT), "device": (len(DEVICES), MOMENT),
        "w1": (dim + MOMENT + NUMBERS, j), "b1": (j,), "w2": (j, k), "b2": (k,), "w3": (k, dim), "b3": (dim,),
    }  # fmt: skip
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ArtifactError(f"the youtube model's {name} is {arrays[name].shape}, expected {shape}; train again")
    return arrays
