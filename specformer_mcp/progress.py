"""How far a download is, on stderr: one line in place on a terminal, few lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

_REDRAW_S = 0.2
_LINE_EVERY_S = 30.0


class ProgressLine:
    """Shows name, share, speed and time left of one file after another.

    Parameters
    ----------
    stream
        Where to; a terminal gets one line that is drawn again and again, anything else (a log) a
        line for every half minute.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._in_place = self._stream.isatty()
        self._name = ""
        self._began_at = self._drawn_at = 0.0
        self._began_with = 0
        self._open = False

    def update(self, name: str, done: int, total: int | None) -> None:
        """Show how far the file is, unless that was shown a moment ago."""
        now = time.monotonic()
        if name != self._name:
            self._name, self._began_at, self._began_with = name, now, done
            # A log says something of a file only when it takes long.
            self._drawn_at = 0.0 if self._in_place else now
        pause = _REDRAW_S if self._in_place else _LINE_EVERY_S
        if now - self._drawn_at < pause and not (self._in_place and done == total):
            return
        self._drawn_at = now
        self._began_with = min(self._began_with, done)  # it was started again
        self._draw(name, _facts(done, total, done - self._began_with, now - self._began_at))

    def note(self, text: str) -> None:
        """Show a sentence on a line of its own."""
        self.close()
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """End the line that is drawn in place."""
        if self._open:
            print(file=self._stream, flush=True)
            self._open = False
        self._name = ""

    def _draw(self, name: str, facts: str) -> None:
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1
            line = f"{_shortened(name, width - len(facts) - 2)}  {facts}"
            print(f"\r{line[:width]:<{width}}", end="", file=self._stream, flush=True)
            self._open = True
        else:
            print(f"{name}  {facts}", file=self._stream, flush=True)


def megabytes(size: int) -> str:
    """Return a size in MB, with enough digits to tell small files apart."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def _shortened(name: str, width: int) -> str:
    """Leave out the middle: names of one archive begin alike, and often end alike."""
    if len(name) <= width:
        return name
    half = max(1, (width - 1) // 2)
    return f"{name[:half]}…{name[-half:]}"


def _facts(done: int, total: int | None, came: int, seconds: float) -> str:
    speed = came / seconds if seconds > 0 else 0.0
    of = f"{done / total:6.1%} of {megabytes(total)}" if total else megabytes(done)
    parts = [of, f"{speed / 1e6:.1f} MB/s"]
    if total and speed > 0:
        left = round((total - done) / speed)
        parts.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left")
    return "  ".join(parts)
