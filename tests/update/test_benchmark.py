"""The benchmark runs and writes its table. What it measures is in docs/."""

import subprocess
import sys

from tests.matrix import ROOT


def test_the_benchmark_of_copier_writes_its_table(tmp_path):
    page = tmp_path / "benchmarks.md"
    command = [sys.executable, "-m", "benchmarks.copier", "--quick", "--output", page]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    rows = [line.split(" | ") for line in page.read_text().splitlines() if " s" in line]
    commands = [row[0].lstrip("| ") for row in rows if "`" in row[0] and len(row) == 4]
    assert commands == [
        "`copier copy`, a template of one file",
        "`copier copy`, the defaults",
        "`copier update`, one line changed",
        "`django-admin startproject`",
    ]
    assert "git processes" in page.read_text()
