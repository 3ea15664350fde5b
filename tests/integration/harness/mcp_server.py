"""A scripted MCP server: both eras, faults on demand, and a record of all that it got.

Over stdio it is a child of the gateway: `python3 mcp_server.py FOLDER`. Over HTTP it lives in the test process
(mcp_http.py). Either way FOLDER holds its script (script.json, read again at every request, so that a test can change
its mind) and its record (record.jsonl; times are CLOCK_MONOTONIC, so those of other processes can be compared).
Standard library only, started with `python3 -I -S`: a child is up in some 30 ms.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
META = "io.modelcontextprotocol/"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def _schema(required: tuple[str, ...] = (), **properties: str) -> dict:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(required),
    }


TOOLS = {
    "echo": ("Says TEXT.", _schema(("text",), text="string")),
    "add": ("Adds two numbers.", _schema(("a", "b"), a="number", b="number")),
    "slow": (
        "Takes SECONDS; reports progress every EVERY seconds if told to.",
        _schema(("seconds",), seconds="number", every="number"),
    ),
    "hang": ("Never answers.", _schema()),
    "die": ("Kills this server in the middle of the call.", _schema()),
    "fail": ("Fails as tools do.", _schema(text="string")),
    "refuse": ("Fails as the protocol does.", _schema()),
    "big": ("BYTES of text.", _schema(("bytes",), bytes="integer")),
    "process": ("What this process was given: environment, descriptors, parent.", _schema()),
    "spawn": ("Starts a process that outlives the call.", _schema()),
    "request_headers": ("The HTTP headers of this request.", _schema()),
    "change": ("Writes SCRIPT and tells that the tools have changed.", _schema(("script",), script="object")),
    "picture": ("One pixel.", _schema()),
    "structured": ("Structured content.", _schema()),
    "cite": ("Names two pages, and has a picture.", _schema()),
    "noisy": ("Writes to stderr, and lines that are no protocol to stdout.", _schema(("text",), text="string")),
}


class Record:
    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "record.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, kind: str, **more: object) -> None:
        line = json.dumps({"at": time.monotonic(), "pid": os.getpid(), "kind": kind, **more})
        os.write(self._file, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)


class Call:
    """A tools/call under way. `send` brings a message to the client on the way that belongs to this request."""

    def __init__(self, server: Server, request: dict, send: Callable[[dict], None], headers: dict[str, str]) -> None:
        self.server, self.id, self.send, self.headers = server, request["id"], send, headers
        params = request["params"]
        self.params, self.name, self.arguments = params, params["name"], params.get("arguments") or {}
        self.token = (params.get("_meta") or {}).get("progressToken")
        self.cancelled = threading.Event()

    def progress(self, progress: float, total: float, message: str) -> None:
        if self.token is not None:
            params = {"progressToken": self.token, "progress": progress, "total": total, "message": message}
            self.send({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})


class Server:
    """What the server does, whatever the transport. Thread-safe: every request has a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = Record(folder)
        self.calls: dict[object, Call] = {}
        self.listeners: list[Callable[[dict], None]] = []  # ways to say something that belongs to no request
        self.lock = threading.Lock()
        self.record.add("start", argv=sys.argv)

    def script(self) -> dict:
        """era: legacy (default), modern or both. tools: names to offer. descriptions: by name. exit_at: a method.
        delay: seconds by method. extra: further tool definitions. Over HTTP also refuse_http: a status for all;
        refuse_tools: statuses by tool; forgotten: what a session that is not known is told (404); retry: ms, all that
        the standalone stream tells before it ends."""
        try:
            return json.loads((self.folder / "script.json").read_text())
        except FileNotFoundError:
            return {}

    def tools(self) -> list[dict]:
        script = self.script()
        changed = script.get("descriptions", {})
        offered = [
            {"name": name, "description": changed.get(name, text), "inputSchema": schema}
            for name, (text, schema) in TOOLS.items()
            if name in script.get("tools", TOOLS)
        ]
        return [*offered, *script.get("extra", [])]

    def tell(self, method: str) -> None:
        with self.lock:
            listeners = list(self.listeners)
        for listener in listeners:
            listener({"jsonrpc": "2.0", "method": method})

    def cancel(self, request_id: object) -> None:
        call = self.calls.get(request_id)
        if call:
            call.cancelled.set()

    def handle(self, message: dict, send: Callable[[dict], None], headers: dict[str, str]) -> None:
        """One message of the client. The answer, if there is one, is the last thing that goes to `send`."""
        method, params = message.get("method"), message.get("params") or {}
        self.record.add("message", method=method, id=message.get("id"), params=params)
        if method == "notifications/cancelled":
            return self.cancel(params.get("requestId"))
        if method is None or "id" not in message:
            return None
        script = self.script()
        if script.get("exit_at") == method:
            os._exit(3)
        if wait := script.get("delay", {}).get(method):
            time.sleep(wait)
        answer = self._answer(message, method, params, script, send, headers)
        if answer is not None:
            send({"jsonrpc": "2.0", "id": message["id"], **answer})
        return None

    def _answer(self, message, method, params, script, send, headers) -> dict | None:
        era = script.get("era", "legacy")
        is_modern = META + "protocolVersion" in (params.get("_meta") or {})
        if is_modern and era == "legacy":
            return _error(-32000, "Bad Request: Server not initialized")
        if not is_modern and era == "modern":
            return _error(-32602, "missing _meta")
        cached = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} if is_modern else {}
        capabilities = {"tools": {"listChanged": True}}
        if method == "initialize":
            version = params["protocolVersion"] if params["protocolVersion"] in LEGACY else LEGACY[0]
            info = {"name": "scripted", "version": "1"}
            return _result(
                protocolVersion=script.get("version", version), capabilities=capabilities, serverInfo=info
            )
        if method == "server/discover":
            return _result(supportedVersions=[MODERN], capabilities=capabilities, **cached)
        if method == "ping":
            return _result()
        if method == "tools/list":
            return _result(tools=self.tools(), **cached)
        if method == "tools/call":
            call = Call(self, message, send, headers)
            self.calls[call.id] = call
            try:
                run = BEHAVIOUR.get(call.name)
                return run(call) if run else _error(-32602, f"Unknown tool: {call.name}")
            finally:
                self.calls.pop(call.id, None)
        return _error(-32601, f"Method not found: {method}")


def _result(**members: object) -> dict:
    return {"result": members}


def _error(code: int, message: str) -> dict:
    return {"error": {"code": code, "message": message}}


def _text(text: str, **more: object) -> dict:
    return _result(content=[{"type": "text", "text": text}], resultType="complete", **more)


def _slow(call: Call) -> dict | None:
    seconds, every = call.arguments["seconds"], call.arguments.get("every") or call.arguments["seconds"]
    end = time.monotonic() + seconds
    step = 0
    while (left := end - time.monotonic()) > 0:
        if call.cancelled.wait(min(every, left)):
            call.server.record.add("cancelled", id=call.id)
            return None
        step += 1
        if "every" in call.arguments:
            call.progress(step, max(step, round(seconds / every)), f"step {step}")
    return _text(f"took {seconds} s")


def _hang(call: Call) -> None:
    call.server.record.add("hanging", id=call.id)
    call.cancelled.wait()
    call.server.record.add("cancelled", id=call.id)


def _die(call: Call) -> None:
    call.server.record.add("dying")
    os.kill(os.getpid(), signal.SIGKILL)


def _big(call: Call) -> dict:
    line = "0123456789abcdef " * 4 + "\n"
    size = call.arguments["bytes"]
    return _text("HEAD" + (line * (size // len(line) + 1))[: size - 8] + "TAIL")


def _process(call: Call) -> dict:
    own = Path("/proc/self/fd")
    descriptors = {}
    for name in sorted(os.listdir(own), key=int):
        try:
            descriptors[name] = os.readlink(own / name)
        except OSError:
            pass  # the one that listed the folder
    signals = Path("/proc/self/status").read_text()
    report = {
        "environment": dict(os.environ),
        "descriptors": descriptors,
        "pid": os.getpid(),
        "parent": os.getppid(),
        "group": os.getpgid(0),
        "blocked": signals.split("SigBlk:")[1].split()[0],
        "ignored": signals.split("SigIgn:")[1].split()[0],
    }
    return _text(json.dumps(report))


def _spawn(call: Call) -> dict:
    started = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    call.server.record.add("spawned", child=started.pid)
    return _text(str(started.pid))


def _change(call: Call) -> dict:
    beside = call.server.folder / "script.new"
    beside.write_text(json.dumps(call.arguments["script"]))
    beside.rename(call.server.folder / "script.json")
    call.server.tell("notifications/tools/list_changed")
    return _text("changed")


def _noisy(call: Call) -> dict:
    print(call.arguments["text"], file=sys.stderr, flush=True)
    os.write(1, b"this is no JSON\n{broken\n\n")
    return _text("said")


def _ask_model(call: Call) -> dict:
    """Modern era: wants an answer of a model before it can go on. Offered by a test that names it in `extra`."""
    answers = call.params.get("inputResponses")
    if answers is None:
        asked = {"method": "sampling/createMessage", "params": call.arguments["request"]}
        return _result(resultType="input_required", requestState="half way", inputRequests={"said": asked})
    return _text(json.dumps([call.params.get("requestState"), answers["said"]]))


# ---- tools whose effect is counted (harness/history_tools.py), offered by a script that names them in `extra`


def _ledger(call: Call, event: str) -> None:
    """One line, which the end of this process leaves behind. `run`: of which request it is, if the server is told."""
    line = {"token": call.arguments.get("token"), "event": event, "tool": call.name, "server": call.server.folder.name,
            "run": call.headers.get("x-run")}  # fmt: skip
    file = os.open(call.server.folder.parent / "ledger.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


def _silence(call: Call) -> None:
    call.cancelled.wait(3)


def _note(call: Call) -> dict | None:
    """Has an effect. `how`: fail or refuse without one; hang or die before it; mute, dead or odd (an error) after it;
    late (it takes its time); ok."""
    token, how = call.arguments["token"], call.arguments.get("how", "ok")
    _ledger(call, "got")
    if how == "fail":
        return _text(f"no room for {token}", isError=True)
    if how == "refuse":
        return _error(-32603, f"no {token} today")
    if how == "hang":
        return _silence(call)
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "late" and call.cancelled.wait(0.15):
        return None
    for _ in range(2 if call.server.script().get("twice") else 1):
        _ledger(call, "did")
    if how == "mute":
        return _silence(call)
    if how == "dead":
        os.kill(os.getpid(), signal.SIGKILL)
    return _text(f"noted {token}", isError=how == "odd")


def _look(call: Call) -> dict:
    """Only reads."""
    _ledger(call, "got")
    return _text(f"saw {call.arguments['token']}")


BEHAVIOUR: dict[str, Callable[[Call], dict | None]] = {
    "note": _note,
    "look": _look,
    "echo": lambda call: _text(str(call.arguments.get("text"))),
    "add": lambda call: _text(str(call.arguments["a"] + call.arguments["b"])),
    "slow": _slow,
    "hang": _hang,
    "die": _die,
    "fail": lambda call: _text(call.arguments.get("text", "it failed"), isError=True),
    "refuse": lambda call: _error(-32603, "the server is in no mood"),
    "big": _big,
    "process": _process,
    "spawn": _spawn,
    "request_headers": lambda call: _text(json.dumps(call.headers)),
    "change": _change,
    "picture": lambda call: _result(
        content=[{"type": "text", "text": "a pixel"}, {"type": "image", "data": PIXEL, "mimeType": "image/png"}],
        resultType="complete",
    ),
    "structured": lambda call: _text('{"sum":3}', structuredContent={"sum": 3}),
    "cite": lambda call: _result(
        content=[
            {"type": "text", "text": "The moon pulls at the sea [1]."},
            {"type": "resource_link", "uri": "https://tides.example/moon", "name": "moon", "title": "The moon",
             "description": "It pulls."},
            {"type": "resource_link", "uri": "https://tides.example/sun", "name": "The sun"},
            {"type": "resource_link", "uri": "file:///etc/passwd", "name": "no page"},
            {"type": "image", "data": PIXEL, "mimeType": "image/png"},
        ],
        resultType="complete",
    ),
    "noisy": _noisy,
    "ask_model": _ask_model,
}


# ---- stdio


def serve_stdio(folder: Path) -> None:
    server = Server(folder)
    writing = threading.Lock()

    def send(message: dict) -> None:
        with writing:
            try:
                sys.stdout.write(json.dumps(message) + "\n")
                sys.stdout.flush()
            except BrokenPipeError:
                os._exit(0)

    server.listeners.append(send)
    signal.signal(signal.SIGUSR1, lambda *_: server.tell("notifications/tools/list_changed"))
    signal.signal(signal.SIGTERM, lambda *_: (server.record.add("sigterm"), os._exit(0)))
    for line in sys.stdin:
        threading.Thread(target=server.handle, args=(json.loads(line), send, {}), daemon=True).start()
    server.record.add("stdin closed")
    if server.script().get("stubborn"):  # takes no hint: only SIGKILL ends it
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pause()


if __name__ == "__main__":
    serve_stdio(Path(sys.argv[1]))
