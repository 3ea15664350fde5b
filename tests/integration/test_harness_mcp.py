"""The scripted MCP server itself: what the tests of the gateway's tools rely on."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from pathlib import Path

import pytest

from harness.mcp import descendants, is_gone, records, stdio, wait_record, write_script
from harness.mcp_http import HttpServer
from harness.mcp_server import META, MODERN, TOOLS

INITIALIZE = {
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
MODERN_META = {"_meta": {META + "protocolVersion": MODERN, META + "clientCapabilities": {}}}


class Child:
    def __init__(self, folder: Path) -> None:
        entry = stdio(folder)
        self.process = subprocess.Popen(
            [entry["command"], *entry["args"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def send(self, method: str, request_id: object = None, **params: object) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if request_id is not None:
            message["id"] = request_id
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def read(self) -> dict:
        return json.loads(self.process.stdout.readline())

    def end(self) -> int:
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(5)


def test_stdio(tmp_path: Path) -> None:
    child = Child(tmp_path)
    child.send("initialize", 1, **INITIALIZE["params"])
    assert child.read()["result"]["protocolVersion"] == "2025-11-25"
    child.send("tools/list", 2)
    assert {tool["name"] for tool in child.read()["result"]["tools"]} == set(TOOLS)
    child.send("tools/call", 3, name="slow", arguments={"seconds": 0.1, "every": 0.04}, _meta={"progressToken": "t"})
    assert child.read()["params"]["progressToken"] == "t"
    child.send("tools/call", 4, name="hang", arguments={})
    wait_record(tmp_path, "hanging")
    child.send("notifications/cancelled", requestId=4)
    wait_record(tmp_path, "cancelled", id=4)
    child.send("server/discover", 5, **MODERN_META)
    while (answer := child.read()).get("id") != 5:
        pass
    assert answer["error"]["code"] == -32000
    assert child.end() == 0 and records(tmp_path, "stdin closed")


def test_stdio_modern(tmp_path: Path) -> None:
    write_script(tmp_path, {"era": "modern"})
    child = Child(tmp_path)
    child.send("server/discover", 1, **MODERN_META)
    assert child.read()["result"]["supportedVersions"] == [MODERN]
    child.send("initialize", 2, **INITIALIZE["params"])
    assert child.read()["error"]
    child.send("tools/call", 3, name="change", arguments={"script": {"era": "modern", "tools": []}}, **MODERN_META)
    assert child.read()["method"] == "notifications/tools/list_changed"
    assert child.read()["id"] == 3
    child.send("tools/list", 4, **MODERN_META)
    assert child.read()["result"]["tools"] == []
    child.end()


def test_family(tmp_path: Path) -> None:
    child = Child(tmp_path)
    child.send("tools/call", 1, name="spawn", arguments={})
    grandchild = int(child.read()["result"]["content"][0]["text"])
    assert descendants(child.process.pid) == [grandchild] and not is_gone(grandchild)
    subprocess.run(["kill", "-9", str(grandchild)], check=True)
    child.end()
    assert is_gone(child.process.pid)


@pytest.fixture
def server(tmp_path: Path):
    server = HttpServer(tmp_path)
    yield server
    server.stop()


def post(port: int, message: dict, session: str | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {"content-type": "application/json", **({"mcp-session-id": session} if session else {})}
    connection.request("POST", "/mcp", json.dumps({"jsonrpc": "2.0", **message}), headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_http(server: HttpServer, tmp_path: Path) -> None:
    assert post(server.port, {"id": 1, "method": "tools/list"})[0] == 404, "no session"
    status, headers, _ = post(server.port, {"id": 1, **INITIALIZE})
    assert status == 200
    session = headers["mcp-session-id"]
    assert post(server.port, {"method": "notifications/initialized"}, session)[0] == 202
    call = {"name": "slow", "arguments": {"seconds": 0.1, "every": 0.04}, "_meta": {"progressToken": 7}}
    status, headers, body = post(server.port, {"id": 2, "method": "tools/call", "params": call}, session)
    assert headers["content-type"] == "text/event-stream" and body.count(b"notifications/progress") >= 2
    assert json.loads(body.split(b"data: ")[-1])["result"]["content"][0]["text"] == "took 0.1 s"
    port = server.port
    server.stop()
    again = HttpServer(tmp_path / "again", port)
    assert post(port, {"id": 3, "method": "tools/list"}, session)[0] == 404, "it knows nothing of old sessions"
    again.stop()


def test_http_cancel_and_leave(server: HttpServer, tmp_path: Path) -> None:
    write_script(tmp_path, {"era": "both"})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    params = {"name": "hang", "arguments": {}, **MODERN_META}
    connection.request(
        "POST", "/mcp", json.dumps({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params})
    )
    wait_record(tmp_path, "hanging")
    left_at = time.monotonic()
    connection.close()
    assert wait_record(tmp_path, "cancelled", id=9)["at"] - left_at < 1
    assert records(tmp_path, "client left", id=9)


def test_http_listening(server: HttpServer, tmp_path: Path) -> None:
    write_script(tmp_path, {"era": "modern"})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    params = {"notifications": {"toolsListChanged": True}, **MODERN_META}
    connection.request(
        "POST", "/mcp", json.dumps({"jsonrpc": "2.0", "id": 5, "method": "subscriptions/listen", "params": params})
    )
    answer = connection.getresponse()
    assert b"acknowledged" in answer.readline() + answer.readline()
    wait_record(tmp_path, "listening")
    server.scripted.tell("notifications/tools/list_changed")
    answer.readline(), answer.readline()
    told = json.loads(answer.readline()[6:])
    assert told["params"]["_meta"][META + "subscriptionId"] == 5
    connection.close()
    wait_record(tmp_path, "stopped listening")
