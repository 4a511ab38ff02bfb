"""Schemathesis reads the OpenAPI document of a running server and tries to break what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from served import serving

pytest.importorskip("schemathesis", reason="schemathesis comes with: make test-all")

# 503 is a documented answer (behind, overloaded); 500 is documented nowhere, so the first check catches it.
CHECKS = "status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.slow
def test_no_generated_request_breaks_the_contract(tmp_path: Path) -> None:
    examples = os.environ.get("ENDCAP_FUZZ_EXAMPLES", "50")
    with serving(tmp_path / "data") as running:
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/openapi.json", "--checks", CHECKS,
            "--max-examples", examples, "--exclude-path", "/metrics", "--exclude-path", "/v1/tail",
            "--exclude-path", "/v1/models/training", "--no-color",  # which starts processes
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1_800)
    print(done.stdout[-6_000:])
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
