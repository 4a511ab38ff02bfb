"""Packages from npm that tests need, in a cache outside the repository: the real libraries of Segment and RudderStack,
and the compilers that check the JavaScript client.

Run as a program it fills the cache. A test skips, with the reason, where there is no npm or its registry cannot be
reached.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGES = {
    "@rudderstack/analytics-js": "3.34.1",
    "@segment/analytics-next": "1.84.3",
    "@segment/analytics-node": "3.1.0",
}
CACHE = Path(os.environ.get("ENDCAP_SDKS", Path.home() / ".cache" / "endcap" / "sdks"))


def installed(packages: Mapping[str, str] = PACKAGES, name: str = "") -> Path | str:
    """The folder that holds ``node_modules``, or why there is none. ``name``: a folder of its own in the cache."""
    wanted = json.dumps({"private": True, "dependencies": packages}, indent=1)
    folder = CACHE.with_name(name) if name else CACHE
    stamp = folder / "installed.json"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return folder
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "no npm and node on this machine"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(wanted, "utf-8")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)
    except subprocess.TimeoutExpired:
        return "npm install took more than three minutes"
    if done.returncode:
        return f"npm install failed: {done.stderr.strip()[-300:]}"
    stamp.write_text(wanted, "utf-8")
    return folder


if __name__ == "__main__":
    print(installed())
    sys.exit(0 if isinstance(installed(), Path) else 1)
