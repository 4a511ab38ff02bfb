"""Moved to endcap.bench.synthetic so that `endcap bench` works from a wheel; import it from there. Untracked, removed soon."""

from endcap.bench.synthetic import *  # noqa: F403
