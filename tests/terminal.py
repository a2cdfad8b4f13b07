"""A terminal in which a program asks and a test answers."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pexpect
import pyte

ENTER = "\r"
UP = "\x1b[A"
DOWN = "\x1b[B"
CTRL_C = "\x03"
RUB_OUT = "\x05\x15"  # all of an answer: go to its end, delete to its beginning


class Terminal:
    """Runs a command in a window of `columns` by `lines` characters.

    `output` is all that the command has written, `screen` what the window shows.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        columns: int = 80,
        lines: int = 60,
        **environ: str,
    ) -> None:
        self.output = ""
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self.screen)
        program, *arguments = map(str, command)
        inherited = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        self._process = pexpect.spawn(
            program,
            arguments,
            cwd=str(folder),
            env=inherited | {"TERM": "xterm-256color", "LANG": "C.UTF-8"} | environ,
            dimensions=(lines, columns),
            encoding="utf-8",
        )
        # The program asks the terminal where the cursor is.
        self.screen.write_process_input = self._process.send

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.close(force=True)

    def __str__(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def shows(self, text: str) -> bool:
        """Say whether the window shows `text`, which may run on over several lines."""
        return text in "".join(self.screen.display)

    def wait_for(self, text: str, seconds: float = 120) -> None:
        """Wait until the window shows `text`; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not self.shows(text):
            if time.monotonic() > deadline or not self._read():
                raise TimeoutError(f"no {text!r} in\n{self}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self._process.send(key)

    def exit_status(self) -> int:
        """Wait for the end of the command and return its exit status."""
        while self._read():
            pass
        self._process.close()
        return self._process.exitstatus

    def _read(self) -> bool:
        """Take in what the command writes next; False once it has ended."""
        try:
            text = self._process.read_nonblocking(4096, timeout=1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.output += text
        self._stream.feed(text)
        return True
