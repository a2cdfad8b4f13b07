"""The benchmark runs and writes its table. What it measures is in docs/benchmarks.md."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_benchmark_writes_its_table(tmp_path):
    page = tmp_path / "benchmarks.md"
    command = [sys.executable, "-m", "benchmarks.monitoring", "--quick"]
    subprocess.run([*command, "--output", page], cwd=ROOT, check=True)
    text = page.read_text()
    rows = [line.split(" | ") for line in text.splitlines() if "at most" in line]
    assert [row[0].lstrip("| ") for row in rows] == [
        "a view that says hello, traces 0.1",
        "a page with six queries, traces 0.1",
        "an error event",
        "its size",
        "its size, compressed",
        "start beside redis, Celery and HTTPX",
    ]
    for row in rows:
        float(row[3])  # which in a quick run may be anything, but is a number
    assert "a batch of 20 logs" in text
