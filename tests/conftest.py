"""How Hypothesis runs: without time limits, for a busy machine is no bug, and on a build server with the same examples
each time, so that a change is judged and not the draw. Every other run draws new ones."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("drawn", deadline=None, print_blob=True)
settings.register_profile("repeated", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("repeated" if os.environ.get("CI") else "drawn")
