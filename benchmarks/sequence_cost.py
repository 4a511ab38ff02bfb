"""Cost: one event's vector, by model, with full windows: p50 and p99 in microseconds of the processor.

    taskset -c 1 python benchmarks/sequence_cost.py --items 100000 --dim 64

The weights are random: what a step costs does not depend on them.
"""

from __future__ import annotations

import argparse
from time import thread_time_ns

import numpy as np
import torch

from endcap.config import Config
from endcap.features.histories import Histories
from endcap.learning.networks import gru4rec, nextitnet, sasrec
from endcap.models.gru4rec import Gru4RecSource
from endcap.models.network import Window
from endcap.models.nextitnet import NextItNetSource
from endcap.models.sasrec import SasRecSource

EVENTS = 2_000


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    ids, rings = [str(k) for k in range(args.items)], Histories(Config().covisit)
    cnn, attention = nextitnet.NextItNet(args.items, args.dim).eval(), sasrec.SasRec(args.items, args.dim).eval()
    gru = gru4rec.Gru4Rec(args.items, args.dim).eval()
    made = (
        ("gru4rec, carried on", Gru4RecSource(rings), gru4rec.network_of(gru, ids, {}), 40),
        ("gru4rec, 64 anew", Gru4RecSource(rings), gru4rec.network_of(gru, ids, {}), 64),
        ("nextitnet", NextItNetSource(rings), nextitnet.network_of(cnn, ids, {}), 50),
        ("sasrec", SasRecSource(rings), sasrec.network_of(attention, ids, {}), 50),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for name, source, network, most in made:
        source.network = network
        source.open(network)
        places = rng.integers(0, args.items, EVENTS + 64).astype(np.int32)
        took = []
        for k in range(EVENTS):
            n = 1 + k % most if "carried" in name else most
            begin = k - k % most if "carried" in name else k
            window = Window(places[begin : begin + n], np.zeros(n, np.int32), np.ones(n, np.int8), 1)
            began = thread_time_ns()
            source.encode(window)
            took.append(thread_time_ns() - began)
        p50, p99 = np.percentile(np.array(took[200:]) / 1000.0, [50, 99])
        print(f"{name}, {args.items:,} items x {args.dim}: p50 {p50:.0f} us, p99 {p99:.0f} us")


if __name__ == "__main__":
    main()
