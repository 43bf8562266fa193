"""HTTP/1.1 with deadlines for the head of a request and for taking an answer.

Uvicorn puts a limit only on the silence between two requests: a client that opens connections and
sends a header a minute, or never reads what it is sent, would hold them forever.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class DeadlineProtocol(H11Protocol):
    """Uvicorn's protocol that closes connections on which nothing useful goes on.

    Attributes
    ----------
    header_timeout_s
        From the connection, or from the first byte of a further request, to the end of its head;
        also for a body that nobody waits for any more.
    write_timeout_s
        Time during which the client takes nothing of what waits for it.
    """

    header_timeout_s = 10.0
    write_timeout_s = 30.0

    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._watch_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a further byte does not move the deadline."""
        super().data_received(data)
        self._watch_reading()

    def pause_writing(self) -> None:
        """Expect the client to take something."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that it has."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _watch_reading(self) -> None:
        if self._unfinished():
            if self._reading is None:
                self._reading = self.loop.call_later(self.header_timeout_s, self._late)
        elif self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _unfinished(self) -> bool:
        """Whether a head, or a body that has been answered already, is still coming."""
        if self.conn.their_state is h11.IDLE:
            return self.timeout_keep_alive_task is None
        answered = self.cycle is not None and self.cycle.response_complete
        return answered and self.conn.their_state is h11.SEND_BODY

    def _late(self) -> None:
        self._reading = None
        if self._unfinished():
            self.transport.abort()


def protocol_with(*, header_timeout_s: float, write_timeout_s: float) -> type[DeadlineProtocol]:
    """Return the protocol with these deadlines, as uvicorn wants it: a class."""
    deadlines = {"header_timeout_s": header_timeout_s, "write_timeout_s": write_timeout_s}
    return type("DeadlineProtocol", (DeadlineProtocol,), deadlines)
