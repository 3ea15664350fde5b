"""A relay before PostgreSQL that knows where a message ends: it can lose the answers of a transaction but for its end."""

from __future__ import annotations

import socket
import struct
import threading

END_OF_TRANSACTION = ord("Z")  # ReadyForQuery (protocol 3.0 §55.7)


class ForgetfulRelay:
    """Plain connections only. `forget(n)`: of the next n exchanges nothing but ReadyForQuery comes through."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._left = 0
        self._lock = threading.Lock()
        self.forgotten = 0  # exchanges of which something was lost
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def dsn(self) -> str:
        return f"postgresql://parley@127.0.0.1:{self.port}/postgres?sslmode=disable&gssencmode=disable"

    def forget(self, exchanges: int) -> None:
        with self._lock:
            self._left = exchanges

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            for work in (self._ask, self._answer):
                threading.Thread(target=work, args=(client, server), daemon=True).start()

    @staticmethod
    def _ask(client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            server.close()

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        stream = server.makefile("rb")
        lost_here = False
        try:
            while head := stream.read(5):
                kind, size = struct.unpack("!BI", head)
                message = head + stream.read(size - 4)
                with self._lock:
                    losing = self._left > 0
                    if kind == END_OF_TRANSACTION and lost_here:
                        self._left -= 1
                        self.forgotten += 1
                if kind == END_OF_TRANSACTION:
                    lost_here = False
                elif losing:
                    lost_here = True
                    continue
                client.sendall(message)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            client.close()
