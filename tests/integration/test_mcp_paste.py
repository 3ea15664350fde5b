"""Paste tests: what people already have for another host works here as it is (facts/mcp.md §4), variables filled in once.

That each dialect reads as the same settings is a unit test (tests/unit/agents/config_mcp_test.cpp); here they run.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.api import call, chat
from harness.gateway import run_cli
from harness.mcp import records, result, stdio, with_tools
from harness.mcp_http import HttpServer

TOKEN = "token-0123456789"
ENVIRONMENT = {"MCP_TEST_TOKEN": TOKEN, "MCP_INPUT_API_TOKEN": TOKEN}


def commented(text: dict, note: str) -> str:
    """JSONC as VS Code and Cursor take it: a comment and a trailing comma."""
    return "// " + note + "\n" + json.dumps(text, indent=2)[:-2] + ",\n}\n"


def http_dialects(url: str) -> dict[str, object]:
    head = {"Authorization": "Bearer ${MCP_TEST_TOKEN}"}
    return {
        "original": [{"server_label": "one", "server_url": url, "header": head, "require_approval": "never"}],
        "claude-code": {"mcpServers": {"one": {"type": "http", "url": url, "headers": head}}},
        "claude-code-default": {
            "mcpServers": {"one": {"type": "http", "url": "${MCP_TEST_UNSET:-" + url + "}", "headers": head}}
        },
        "cursor": {"mcpServers": {"one": {"url": url, "headers": {"Authorization": "Bearer ${env:MCP_TEST_TOKEN}"}}}},
        "vs-code": commented(
            {
                "inputs": [{"type": "promptString", "id": "api-token", "password": True}],
                "servers": {
                    "one": {"type": "http", "url": url, "headers": {"Authorization": "Bearer ${input:api-token}"}}
                },
            },
            "of VS Code",
        ),
        "windsurf": {
            "mcpServers": {"one": {"serverUrl": url, "headers": {"Authorization": "Bearer ${env:MCP_TEST_TOKEN}"}}}
        },
        "cline": {
            "mcpServers": {
                "one": {
                    "type": "streamableHttp",
                    "url": url,
                    "headers": {"Authorization": f"Bearer {TOKEN}"},
                    "disabled": False,
                    "autoApprove": ["echo"],
                    "timeout": 30,
                }
            }
        },
        "gemini": {
            "mcpServers": {
                "one": {
                    "httpUrl": url,
                    "headers": {"Authorization": "Bearer $MCP_TEST_TOKEN"},
                    "timeout": 5000,
                    "trust": True,
                }
            }
        },
        "mcpo": {
            "mcpServers": {
                "one": {"type": "streamable-http", "url": url, "headers": {"Authorization": f"Bearer {TOKEN}"}}
            }
        },
        "fastmcp": {"mcpServers": {"one": {"transport": "http", "url": url, "headers": head}}},
        "litellm": {
            "mcp_servers": {"one": {"url": url, "transport": "http", "static_headers": {"Authorization": f"Bearer {TOKEN}"}}}
        },
        "comate": {"mcpServers": {"one": {"transportType": "streamable-http", "url": url, "headers": head}}},
        "bare-map": {"one": {"url": url, "headers": head}},
    }


def stdio_dialects(entry: dict) -> dict[str, object]:
    env = {"TOKEN": "${MCP_TEST_TOKEN}"}
    return {
        "original": [{"server_label": "one", **entry, "env": env}],
        "claude-desktop": {"mcpServers": {"one": {**entry, "env": {"TOKEN": TOKEN}}}},
        "claude-code": {"mcpServers": {"one": {"type": "stdio", **entry, "env": env}}},
        "cursor": {"mcpServers": {"one": {**entry, "envFile": "${workspaceFolder}/own.env"}}},
        "vs-code": {
            "inputs": [{"id": "api-token", "type": "promptString"}],
            "servers": {"one": {"type": "stdio", **entry, "env": {"TOKEN": "${input:api-token}"}}},
        },
        "gemini": {"mcpServers": {"one": {**entry, "env": {"TOKEN": "$MCP_TEST_TOKEN"}, "trust": False}}},
        "litellm": {
            "mcp_servers": {"one": {"transport": "stdio", **entry, "env": {"TOKEN": "os.environ/MCP_TEST_TOKEN"}}}
        },
    }


@pytest.mark.parametrize("dialect", http_dialects(""))
def test_http(start_gateway, tmp_path: Path, dialect: str) -> None:
    server = HttpServer(tmp_path / "one")
    try:
        gateway = start_gateway(with_tools(), start=False, env=ENVIRONMENT)
        gateway.write_mcp(http_dialects(server.url)[dialect])
        gateway.start()
        assert result(gateway, "one__echo", {"text": "x"}) == "x"
        sent = records(tmp_path / "one", "http")
        assert {request["headers"].get("authorization") for request in sent} == {f"Bearer {TOKEN}"}
    finally:
        server.stop()


@pytest.mark.parametrize("dialect", stdio_dialects({}))
def test_stdio(start_gateway, tmp_path: Path, dialect: str) -> None:
    mcp = stdio_dialects(stdio(tmp_path / "one"))[dialect]
    gateway = start_gateway(with_tools(), mcp=mcp, env=ENVIRONMENT, files={"own.env": f"TOKEN={TOKEN}\n"})
    assert f'"TOKEN": "{TOKEN}"' in result(gateway, "one__process")


@pytest.mark.parametrize(
    ("more", "offered"),
    [
        ({"allowed_tools": ["echo", "a*"]}, {"echo", "add"}),
        ({"includeTools": ["echo"]}, {"echo"}),
        ({"tools_to_execute": ["echo"]}, {"echo"}),
        ({"excludeTools": ["hang", "die"]}, {"echo", "add", "fail"}),
        ({"disallowed_tools": ["hang", "die", "f*"]}, {"echo", "add"}),
        ({"disabledTools": ["add"]}, {"echo", "hang", "die", "fail"}),
        ({"disabled": True}, set()),
        ({"require_approval": "always"}, set()),
    ],
)
def test_allow_and_deny(start_gateway, tmp_path: Path, more: dict, offered: set[str]) -> None:
    script = {"tools": ["echo", "add", "hang", "die", "fail"]}
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one", script, **more)})
    text = chat(gateway, "demo", "/tools").json()["choices"][0]["message"]["content"]
    assert {line.split("one__")[1].rstrip("`") for line in text.splitlines() if "one__" in line} == offered


def test_no_literal_variable_is_ever_sent(start_gateway, tmp_path: Path) -> None:
    server = HttpServer(tmp_path / "one")
    try:
        mcp = {"mcpServers": {"one": {"url": server.url, "headers": {"Authorization": "Bearer ${MCP_TEST_UNSET}"}}}}
        gateway = start_gateway(with_tools(), mcp=mcp)
        assert "one__" not in chat(gateway, "demo", "/tools").body.decode()
        assert records(tmp_path / "one", "http") == []
        shown = call(gateway, "GET", "/health?detailed=true").json()["mcp_servers"]
        assert "MCP_TEST_UNSET" in json.dumps(shown)
    finally:
        server.stop()


def test_a_mounted_token_loses_its_line_end(start_gateway, tmp_path: Path) -> None:
    server = HttpServer(tmp_path / "one")
    try:
        headers = {"Authorization": "Bearer ${MCP_TEST_TOKEN}", "Content-Type": "text/plain"}
        mcp = {"mcpServers": {"one": {"url": server.url + "?key=${MCP_TEST_TOKEN}", "headers": headers}}}
        gateway = start_gateway(with_tools(), mcp=mcp, env={"MCP_TEST_TOKEN": TOKEN + "\n"})
        assert result(gateway, "one__echo", {"text": "x"}) == "x"
        sent = records(tmp_path / "one", "http")
        assert {request["headers"].get("authorization") for request in sent} == {f"Bearer {TOKEN}"}
        assert {request["headers"].get("content-type") for request in sent} == {"application/json"}
    finally:
        server.stop()


@pytest.mark.parametrize("name", ["Authorization", "cookie", "x-api-key"])
def test_credentials_of_clients_cannot_be_forwarded(tmp_path: Path, name: str) -> None:
    (tmp_path / "agent_config.json").write_text(json.dumps(with_tools()))
    (tmp_path / "mcp.json").write_text(json.dumps({"one": {"url": "http://127.0.0.1:1/mcp", "forward_headers": [name]}}))
    done = run_cli("validate", "--config", "agent_config.json", "--mcp", "mcp.json", cwd=tmp_path)
    assert done.returncode == 1 and "/one/forward_headers" in done.stdout + done.stderr


def test_validate_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "agent_config.json").write_text(json.dumps(with_tools()))
    (tmp_path / "mcp.json").write_text(json.dumps({"one": {"url": "http://127.0.0.1:1/mcp?key=${MCP_TEST_UNSET}"}}))
    done = run_cli("validate", "--config", "agent_config.json", "--mcp", "mcp.json", cwd=tmp_path)
    assert done.returncode == 0 and "MCP_TEST_UNSET" in done.stdout + done.stderr
