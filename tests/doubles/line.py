"""A TCP line to a server on loopback whose way up takes so many bytes a second, shared by all connections."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Self

PIECE = 2048


class SlowLine:
    """A door before a server; a context manager. `taken` counts the bytes that went up."""

    def __init__(self, port: int, rate: int) -> None:
        self._server = ("127.0.0.1", port)
        self._rate = rate
        self._free = 0.0
        self._guard = threading.Lock()
        self._listening = socket.socket()
        # What waits in the door's own buffer would count as sent.
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * PIECE)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen()
        self._open: list[socket.socket] = []
        self.port = self._listening.getsockname()[1]
        self.taken = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._listening, *self._open):
            with suppress(OSError):
                connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listening.accept()
                there = socket.create_connection(self._server)
                self._open += [here, there]
                threading.Thread(target=self._up, args=(here, there), daemon=True).start()
                threading.Thread(target=self._down, args=(there, here), daemon=True).start()

    def _up(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while piece := here.recv(PIECE):
                with self._guard:
                    self._free = max(self._free, time.monotonic()) + len(piece) / self._rate
                    pause = self._free - time.monotonic()
                    self.taken += len(piece)
                time.sleep(max(0.0, pause))
                there.sendall(piece)
            there.shutdown(socket.SHUT_WR)

    def _down(self, there: socket.socket, here: socket.socket) -> None:
        with suppress(OSError):
            while piece := there.recv(65_536):
                here.sendall(piece)
            here.shutdown(socket.SHUT_WR)
