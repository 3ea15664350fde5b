"""What runs during a test: the scripted model, Parley, a tap between it and Open WebUI, Open WebUI, a browser."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from harness import reference_servers as reference  # noqa: E402
from harness import upstream as up  # noqa: E402
from harness.configs import agent, config, demo_agent  # noqa: E402
from harness.gateway import Gateway, binary  # noqa: E402, F401
from harness.mcp import stdio  # noqa: E402
from harness.wires import BY_NAME, DONE, chunk, sse  # noqa: E402

PATIENCE_S = 60.0  # for what takes a second on a machine with nothing else to do
BOOT_S = 240.0
PASSWORD = "pw-12345-interop"
PEOPLE = {"ada": "ada@example.org", "bob": "bob@example.org"}  # ada is the admin
END = "Shall I go on?"  # of every answer of the scripted model
USAGE = {"prompt_tokens": 12, "completion_tokens": 8, "total_tokens": 20}
# The connection's header block that docs/ tells people to paste.
HEADERS = {
    "X-OpenWebUI-Chat-Id": "{{CHAT_ID}}",
    "X-OpenWebUI-Message-Id": "{{MESSAGE_ID}}",
    "X-OpenWebUI-User-Message-Id": "{{USER_MESSAGE_ID}}",
    "X-OpenWebUI-User-Message-Parent-Id": "{{USER_MESSAGE_PARENT_ID}}",
    "X-OpenWebUI-Task": "{{TASK}}",
}
JWT_SECRET = "a-secret-that-only-these-two-know-0123456789"
KEY = "sk-interop-open-webui-0123456789"


def until(condition: Callable[[], object], what: str, timeout: float = PATIENCE_S):
    """The first true value of `condition`, waiting for it."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not within {timeout:.0f} s"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# ---- identity


@dataclass(frozen=True)
class Mode:
    """How Open WebUI tells Parley who asks and in which chat."""

    name: str
    parley: dict[str, str] = field(default_factory=dict)  # environment
    webui: dict[str, str] = field(default_factory=dict)
    key: str = "sk-nobody"
    headers: bool = True  # the connection's header block
    identity: str = "headers"  # headers, jwt or none
    tools: bool = False  # Open WebUI's own ones ride on every turn

    @property
    def keeps(self) -> bool:
        return self.identity != "none"

    def as_user(self, user: str) -> dict[str, str]:
        """Headers of a request of our own that asks Parley on behalf of an Open WebUI user."""
        sent = {"Authorization": f"Bearer {self.key}"}
        if self.identity == "headers":
            sent["X-OpenWebUI-User-Id"] = user
        elif self.identity == "jwt":
            now = int(time.time())
            claims = {"sub": user, "iss": "open-webui", "iat": now, "exp": now + 300}
            sent["X-OpenWebUI-User-Jwt"] = hs256(claims, JWT_SECRET)
        return sent


_FORWARD = {"ENABLE_FORWARD_USER_INFO_HEADERS": "True"}
MODES = {
    mode.name: mode
    for mode in (
        Mode("headers", webui=_FORWARD),
        Mode("forwarder", {"PARLEY_FORWARDER_KEYS": KEY, "PARLEY_API_KEYS": "sk-other"}, _FORWARD, KEY),
        Mode("stateless", headers=False, identity="none"),
        Mode(
            "jwt",
            {"PARLEY_OPENWEBUI_JWT_SECRET": JWT_SECRET, "PARLEY_API_KEYS": KEY},
            {**_FORWARD, "FORWARD_USER_INFO_HEADER_JWT_SECRET": JWT_SECRET},
            KEY,
            identity="jwt",
            tools=True,
        ),
    )
}


def hs256(claims: dict, secret: str) -> str:
    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    signed = b".".join(part(json.dumps(one).encode()) for one in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (signed + b"." + part(hmac.new(secret.encode(), signed, hashlib.sha256).digest())).decode()


# ---- the model


class Model:
    """Behind the agents `thinker` and `scribe`: reasons, then says a text that no other answer has.

    A question with `slow` in it is answered a word at a time until somebody stops it. `turns` and `tasks` are the
    exchanges so far, without and with a background task of Open WebUI in them.
    """

    ANSWERS = (
        ("Brittany", "At Saint-Malo the sea rises by up to 13 metres, more than anywhere else in Europe."),
        ("How high", "On an open coast by a metre or two, in narrow bays by far more."),
        ("", "Tides follow the moon, because water is pulled a little more on the near side than on the far one."),
    )

    def __init__(self) -> None:
        self.upstream = up.FakeUpstream()
        self.upstream.on(self._answer)
        self.turns: list[up.Exchange] = []
        self.tasks: list[up.Exchange] = []
        self._lock = threading.Lock()

    def _answer(self, exchange: up.Exchange) -> None:
        sent = exchange.request.json()
        if is_task(sent):
            with self._lock:
                self.tasks.append(exchange)
            return self._task(exchange, sent)
        with self._lock:
            self.turns.append(exchange)
            number = len(self.turns)
        question = text_of(sent["messages"][-1])
        if not sent.get("stream"):
            message = {"role": "assistant", "content": f"Answer {number}."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return up.json_reply({"id": "c", "object": "chat.completion", "created": 1, "model": "up",
                                  "choices": [choice], "usage": USAGE})(exchange)  # fmt: skip
        exchange.head(200, [up.SSE])
        exchange.write(sse(chunk({"role": "assistant", "content": ""})))
        for word in ("The question is about ", f"{short(question)!r}. ", "First the facts, ", "then the answer."):
            exchange.write(sse(chunk({"reasoning_content": word})))
            exchange.sleep(0.3)
        known = next(answer for word, answer in self.ANSWERS if word in question)
        is_slow = "slow" in question
        text = f"Answer {number}. {known} " * (100 if is_slow else 1) + END
        for word in text.split():
            exchange.write(sse(chunk({"content": word + " "})))
            exchange.sleep(0.1 if is_slow else 0.04)
        exchange.write(sse(chunk({}, "stop")) + sse({**chunk(), "choices": [], "usage": USAGE}) + DONE)
        exchange.end()

    @staticmethod
    def _task(exchange: up.Exchange, sent: dict) -> None:
        asked = text_of(sent["messages"][-1])
        answers = {"title": "The model's title", "tags": ["model"], "follow_ups": ["And then?"], "queries": []}
        name = next((name for name in answers if f'"{name}"' in asked), "text")
        message = {"role": "assistant", "content": json.dumps({name: answers.get(name, "")})}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        up.json_reply({"id": "c", "object": "chat.completion", "created": 1, "model": "up", "choices": [choice],
                       "usage": USAGE})(exchange)  # fmt: skip


def is_task(sent: dict) -> bool:
    asked = text_of(sent["messages"][-1])
    return not sent.get("stream") and asked.startswith("### Task:") and "<chat_history>" in asked


def text_of(message: dict) -> str:
    content = message.get("content") or ""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content


def short(text: str, size: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= size else text[: size - 1] + "…"


# ---- between Open WebUI and Parley


@dataclass
class Tapped:
    """A request as Parley got it. `left_at`: when the client closed the connection before the answer was over."""

    head: str
    headers: dict[str, str]
    body: bytes
    at: float
    answer: bytearray = field(default_factory=bytearray)
    left_at: float | None = None

    @property
    def line(self) -> str:
        return self.head.split("\r\n", 1)[0]

    @property
    def is_chat(self) -> bool:
        return self.line.startswith("POST ") and "/chat/completions" in self.line

    def json(self) -> dict:
        return json.loads(self.body)


class Tap:
    """Relays bytes to Parley and keeps what the client asked."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[Tapped] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

    def chats(self, chat_id: str | None = None) -> list[Tapped]:
        with self._lock:
            found = [one for one in self.requests if one.is_chat]
        return [one for one in found if chat_id is None or one.headers.get("x-openwebui-chat-id") == chat_id]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = _Line(self, client, server)
            for work in (line.up, line.down):
                threading.Thread(target=work, daemon=True).start()

    def add(self, request: Tapped) -> None:
        with self._lock:
            self.requests.append(request)


class _Line:
    """One connection."""

    def __init__(self, tap: Tap, client: socket.socket, server: socket.socket) -> None:
        self.tap, self.client, self.server = tap, client, server
        self.current: Tapped | None = None

    def up(self) -> None:
        buffer = bytearray()
        while data := _receive(self.client):
            buffer += data
            self._read(buffer)  # before the answer can come
            if not _send(self.server, data):
                break
        if self.current is not None and self.current.left_at is None:
            self.current.left_at = time.monotonic()
        _shut(self.server)

    def _read(self, buffer: bytearray) -> None:
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(buffer[:end]).decode("latin-1")
            pairs = [line.partition(":") for line in head.split("\r\n")[1:]]
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            size = int(headers.get("content-length", "0"))
            if len(buffer) < end + 4 + size:
                return
            body = bytes(buffer[end + 4 : end + 4 + size])
            del buffer[: end + 4 + size]
            self.current = Tapped(head, headers, body, time.monotonic())
            self.tap.add(self.current)

    def down(self) -> None:
        while data := _receive(self.server):
            if self.current is not None:
                self.current.answer += data
            if not _send(self.client, data):
                break
        _shut(self.client)


def _receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except OSError:
        return b""


def _send(sock: socket.socket, data: bytes) -> bool:
    try:
        sock.sendall(data)
    except OSError:
        return False
    return True


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


# ---- Open WebUI


def ask(url: str, method: str = "GET", body: object = None, headers: dict[str, str] | None = None):
    """JSON of an answer; an HTTPError is the caller's."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), method=method)
    for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
        request.add_header(name, value)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=PATIENCE_S) as answer:
        return json.loads(answer.read() or b"null")


class OpenWebUI:
    def __init__(self, program: Path, folder: Path, mode: Mode, parley_port: int) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "open_webui.log"
        connection = {"headers": HEADERS} if mode.headers else {}
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "DATA_DIR": str(folder),
            "WEBUI_SECRET_KEY": "a-secret-of-this-run-0123456789-0123456789",
            "WEBUI_ADMIN_EMAIL": PEOPLE["ada"],
            "WEBUI_ADMIN_PASSWORD": PASSWORD,
            "WEBUI_ADMIN_NAME": "ada",
            "OFFLINE_MODE": "true",
            "ENABLE_VERSION_UPDATE_CHECK": "False",
            "ENABLE_PERSISTENT_CONFIG": "False",
            "ENABLE_OLLAMA_API": "False",
            "OPENAI_API_BASE_URLS": f"http://127.0.0.1:{parley_port}/v1",
            "OPENAI_API_KEYS": mode.key,
            "OPENAI_API_CONFIGS": json.dumps({"0": connection}),
            "BYPASS_MODEL_ACCESS_CONTROL": "True",
            "BYPASS_EMBEDDING_AND_RETRIEVAL": "true",
            "OMP_NUM_THREADS": "1",
            **mode.webui,
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "serve", "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._tokens: dict[str, str] = {}
        self.ids: dict[str, str] = {}

    def wait(self) -> OpenWebUI:
        def is_up() -> bool:
            assert self._process.poll() is None, f"Open WebUI ended\n{self.log.read_text()[-3000:]}"
            try:
                return ask(f"{self.url}/health")["status"]
            except (OSError, ValueError):
                return False

        until(is_up, "Open WebUI answers", BOOT_S)
        new = {"name": "bob", "email": PEOPLE["bob"], "password": PASSWORD, "role": "user"}
        self.call("ada", "/api/v1/auths/add", "POST", new)
        return self

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def token(self, user: str) -> str:
        if user not in self._tokens:
            credentials = {"email": PEOPLE[user], "password": PASSWORD}
            told = ask(f"{self.url}/api/v1/auths/signin", "POST", credentials)
            self._tokens[user], self.ids[user] = told["token"], told["id"]
        return self._tokens[user]

    def call(self, user: str, path: str, method: str = "GET", body: object = None):
        return ask(self.url + path, method, body, {"Authorization": f"Bearer {self.token(user)}"})

    def chat(self, user: str, chat_id: str) -> dict:
        return self.call(user, f"/api/v1/chats/{chat_id}")["chat"]


# ---- the browser


class BrowserError(AssertionError):
    pass


class Browser:
    """browser.mjs: one JSON object a line, `{"do": name, …}` there and `{"ok": …}` or `{"error": …}` back."""

    def __init__(self, node: str, url: str, log: Path) -> None:
        program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        if not program:
            sys.exit("no Chromium: scripts/install interop")
        hidden = ("http_proxy", "https_proxy", "all_proxy")
        environment = {name: value for name, value in os.environ.items() if name.lower() not in hidden}
        self._log = log.open("w")
        self._process = subprocess.Popen(
            [node, HERE / "browser.mjs", url, program],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def __call__(self, action: str, **arguments):
        try:
            self._process.stdin.write(json.dumps({"do": action, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if not line:
            raise BrowserError(f"{action}: the browser is gone")
        told = json.loads(line)
        if "error" in told:
            raise BrowserError(f"{action}: {told['error']}")
        return told.get("ok")

    def stop(self) -> None:
        try:
            self._process.stdin.close()  # it closes Chromium and ends
            self._process.wait(20)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._log.close()


# ---- all together

AGENTS = (
    demo_agent(
        "demo",
        name="Demo",
        description="Runs tools of an MCP server.",
        allowed_mcp_servers=None,
        allowed_regular_tools=None,
    ),
    agent("thinker", "p", name="Thinker", description="Reasons before it answers.", vision=True),
    agent("scribe", "p", name="Scribe", description="Writes things down."),
)


class Stack:
    def __init__(self, folder: Path, mode: Mode, node: str, open_webui: Path) -> None:
        self.mode = mode
        self.model = Model()
        provider = BY_NAME["openai"].provider(self.model.upstream.url)
        more = {"client_tools": "merge"} if mode.tools else {}
        self.gateway = Gateway(
            folder / "parley",
            config(*[one | more for one in AGENTS], p=provider),
            mcp={"mcpServers": {"lab": reference.entry("everything", "stdio"), "page": stdio(folder / "page")}},
            env=mode.parley,
        ).start()
        self.tap = Tap(self.gateway.address[1])
        (folder / "open_webui").mkdir()
        self.webui = OpenWebUI(open_webui, folder / "open_webui", mode, self.tap.port)
        try:
            self.webui.wait()
            self.browser = Browser(node, self.webui.url, folder / "browser.log")
        except BaseException:
            self.webui.stop()
            self.gateway.kill()
            raise

    def stop(self) -> None:
        """Raises what the gateway has to say about its end."""
        self.browser.stop()
        self.webui.stop()
        self.tap.stop()
        try:
            self.gateway.stop()
        finally:
            self.model.upstream.stop()

    def parley(self, user: str, path: str):
        """GET as that Open WebUI user; (status, JSON)."""
        url = f"http://127.0.0.1:{self.gateway.address[1]}{path}"
        try:
            return 200, ask(url, headers=self.mode.as_user(self.webui.ids.get(user, user)))
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
