"""``endcap bench``: one module per part, each printing what it measured and on what machine.

Ratios are taken inside one run, rounds are interleaved, and every figure comes with its spread, because the machine a
benchmark runs on is seldom idle. The bars that the figures are held against stand beside them in the output.
"""
