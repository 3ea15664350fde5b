"""The scripted MCP server of mcp_server.py over Streamable HTTP, in the test process."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .mcp_server import META, Server


class _Gone(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HttpServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        """The standalone stream of the legacy era."""
        http = self.server
        if not self._known_session() or http.scripted.script().get("era") == "modern":
            return self._plain(405 if http.scripted.script().get("era") == "modern" else 404)
        self._begin_stream()
        if (retry := http.scripted.script().get("retry")) is not None:
            self._chunk(b"retry: %d\n\n" % retry)
            http.scripted.record.add("stopped listening")
            return self._end_stream()
        return self._listen()

    def do_DELETE(self) -> None:
        session = self.headers.get("mcp-session-id")
        self.server.scripted.record.add("session closed", session=session)
        self.server.sessions.discard(session)
        self._plain(200)

    def do_POST(self) -> None:
        http = self.server
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        http.scripted.record.add("http", method=message.get("method"), headers=headers)
        if refusal := http.scripted.script().get("refuse_http"):
            return self._plain(refusal)
        called = (message.get("params") or {}).get("name")
        if refusal := http.scripted.script().get("refuse_tools", {}).get(called):
            return self._plain(refusal)
        modern = META + "protocolVersion" in ((message.get("params") or {}).get("_meta") or {})
        self._session = None
        if message.get("method") == "initialize":
            self._session = http.new_session()
        elif not modern and not self._known_session():
            return self._plain(http.scripted.script().get("forgotten", 404))
        if "id" not in message or "method" not in message:
            http.scripted.handle(message, lambda _: None, headers)
            return self._plain(202)
        if message["method"] == "subscriptions/listen" and http.scripted.script().get("era") in ("modern", "both"):
            http.scripted.record.add("message", method=message["method"], id=message["id"], params=message["params"])
            self._begin_stream()
            meta = {META + "subscriptionId": message["id"]}
            self._event(_note("notifications/subscriptions/acknowledged", notifications={}, _meta=meta))
            return self._listen(meta)
        return self._exchange(message, headers, modern)

    def _exchange(self, message: dict, headers: dict[str, str], modern: bool) -> None:
        """JSON when the answer is the first thing to say, else a stream. Notes when the client leaves."""
        self._streaming = False
        answered, said = threading.Event(), threading.Event()

        def send(value: dict) -> None:
            said.set()
            if "method" in value and not self._streaming:
                self._begin_stream()
            if self._streaming:
                self._event(value)
            elif "error" in value and modern and value["error"]["code"] in (-32000, -32602):
                self._json(value, 400)
            else:
                self._json(value)

        def watch() -> None:
            poller = select.poll()
            poller.register(self.connection, select.POLLRDHUP | select.POLLHUP)
            while not answered.is_set():
                if poller.poll(50):
                    self.server.scripted.record.add("client left", id=message["id"])
                    if modern:  # closing the stream is how that era cancels
                        self.server.scripted.cancel(message["id"])
                    return

        if message["method"] == "tools/call":
            threading.Thread(target=watch, daemon=True).start()
        try:
            self.server.scripted.handle(message, send, headers)
        except (_Gone, OSError):
            self.close_connection = True
        finally:
            answered.set()
        if self._streaming:
            self._end_stream()
        elif not said.is_set():  # a call that was cancelled gets no answer
            self.close_connection = True

    def _known_session(self) -> bool:
        return self.headers.get("mcp-session-id") in self.server.sessions

    def _head(self, status: int, *fields: tuple[str, str]) -> None:
        self.send_response(status)
        if getattr(self, "_session", None):
            self.send_header("Mcp-Session-Id", self._session)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()

    def _plain(self, status: int) -> None:
        self._head(status, ("Content-Length", "0"))

    def _json(self, value: dict, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self._head(status, ("Content-Type", "application/json"), ("Content-Length", str(len(body))))
        self.wfile.write(body)

    def _begin_stream(self) -> None:
        self._streaming = True
        self._head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))

    def _event(self, value: dict) -> None:
        self._chunk(b"event: message\ndata: " + json.dumps(value).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        except (OSError, ValueError) as error:  # ValueError: its connection has just been closed on this side
            raise _Gone from error

    def _end_stream(self) -> None:
        try:
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def _listen(self, meta: dict | None = None) -> None:
        """Keeps a stream open for what belongs to no request, until either side leaves."""
        scripted = self.server.scripted

        def tell(value: dict) -> None:
            try:
                self._event({**value, "params": {"_meta": meta}} if meta else value)
            except _Gone:
                pass

        with scripted.lock:
            scripted.listeners.append(tell)
        scripted.record.add("listening")
        poller = select.poll()
        poller.register(self.connection, select.POLLRDHUP | select.POLLHUP)
        while not self.server.stopping and not poller.poll(50):
            pass
        with scripted.lock:
            scripted.listeners.remove(tell)
        scripted.record.add("stopped listening")
        self.close_connection = True


def _note(method: str, **params: object) -> dict:
    return {"jsonrpc": "2.0", "method": method, "params": params}


class HttpServer(ThreadingHTTPServer):
    """Streamable HTTP at `url`, in this process. `port` lets a second one take the place of a first."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, folder: Path, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.scripted = Server(folder)
        self.sessions: set[str | None] = set()
        self.stopping = False
        self._sockets: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def new_session(self) -> str:
        session = os.urandom(16).hex()
        self.sessions.add(session)
        return session

    def process_request(self, request, client_address) -> None:
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self._sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_: object) -> None:
        pass  # a client that left

    def stop(self) -> None:
        """As a server that is killed: its port and all its connections go at once."""
        self.stopping = True
        self.shutdown()
        self.server_close()
        for sock in list(self._sockets):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
