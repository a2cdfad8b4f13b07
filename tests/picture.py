"""Makes docs/prompts.svg, the picture of the questions: python -m tests.picture"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from itertools import groupby
from pathlib import Path

import pyte
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests import matrix
from tests.matrix import QUESTIONS, ROOT
from tests.terminal import DOWN, ENTER, RUB_OUT, Terminal

PICTURE = ROOT / "docs" / "prompts.svg"
COLUMNS = 76

# The keys that answer a question; ENTER alone takes its default.
ANSWERS = {
    "project_name": RUB_OUT + "Corner Shop" + ENTER,
    "database": DOWN + ENTER,
    "cache": DOWN + ENTER,
    "environment": DOWN + DOWN + ENTER,
    "domain": RUB_OUT + "shop.example" + ENTER,
    "error_dashboard": DOWN,  # not yet answered
}


def draw() -> str:
    """Return the picture of a terminal in which some questions are answered."""
    with tempfile.TemporaryDirectory() as temporary:
        template = Path(temporary, "template")
        matrix.copy_template(template)
        copy = [sys.executable, "-m", "copier", "copy", template, "shop"]
        with Terminal(copy, Path(temporary), COLUMNS, lines=40) as terminal:
            for name in asked():
                terminal.wait_for(QUESTIONS[name]["help"])
                terminal.press(ANSWERS.get(name, ENTER))
            terminal.wait_for("» Bugsink")
            return svg(terminal.screen)


def asked() -> list[str]:
    """Return the questions up to the last in the picture."""
    names = [name for name, q in QUESTIONS.items() if q.get("when") is not False]
    return names[: names.index(list(ANSWERS)[-1]) + 1]


def svg(screen: pyte.Screen) -> str:
    """Return what the screen shows as SVG, without the blank lines at its end."""
    console = Console(
        record=True, width=screen.columns, file=io.StringIO(), force_terminal=True
    )
    lines = [line(screen, row) for row in range(screen.lines)]
    while not lines[-1].plain.strip():
        lines.pop()
    console.print(Text("$ copier copy path/to/this/checkout shop", Style(dim=True)))
    console.print(Text("\n").join(lines))
    drawn = console.export_svg(title="copier copy")
    # Pictures in a README may not load fonts; the browser has one of its own.
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


def line(screen: pyte.Screen, row: int) -> Text:
    chars = [screen.buffer[row][column] for column in range(screen.columns)]
    # A character of two columns leaves the second one empty.
    runs = groupby((char for char in chars if char.data), style)
    return Text.assemble(*(("".join(c.data for c in run), key) for key, run in runs))


def style(char: pyte.screens.Char) -> Style:
    return Style(
        color=color(char.fg),
        bgcolor=color(char.bg),
        bold=char.bold,
        reverse=char.reverse,
    )


def color(name: str) -> Color | None:
    """Return a colour of pyte's, a name or six hexadecimal digits; None by default."""
    if name == "default":
        return None
    return Color.parse(f"#{name}" if re.fullmatch("[0-9a-f]{6}", name) else name)


if __name__ == "__main__":
    PICTURE.write_text(draw())
