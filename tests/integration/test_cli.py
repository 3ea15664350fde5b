"""The command line, stable from here on: validate, agents, chat, version, help, and when serve refuses to start."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.configs import agent, config, demo_agent
from harness.gateway import SLACK, Gateway, StartFailed, run_cli


def validated(folder: Path, configuration: object, *args: str, mcp: object = None, env: dict[str, str] | None = None):
    (folder / "agent_config.json").write_text(
        configuration if isinstance(configuration, str) else json.dumps(configuration)
    )
    (folder / "mcp.json").write_text(json.dumps([] if mcp is None else mcp))
    return run_cli("validate", "--config", "agent_config.json", "--mcp", "mcp.json", *args, cwd=folder, env=env)


GOOD = config(demo_agent(), demo_agent("two", description="d", version="1.2.3", tags=["a"], fallbacks=["demo"]))
SHAPES = {
    "full": GOOD,
    "array": [demo_agent()],
    "object": demo_agent(),
    "original": [
        {
            "agent_id": "research_agent",
            "system_prompt": "x",
            "provider": "demo",
            "model": "demo",
            "model_settings": {"temperature": 0.7, "max_tokens": 10},
            "allowed_regular_tools": None,
            "allowed_mcp_servers": {"deepwiki": {"allowed_mcp_tools": ["read"]}, "fetch": {"allowed_mcp_tools": None}},
            "resources": ["memory"],
            "resource_config": {
                "memory": {"compression": {"enabled": True, "threshold_tokens": 8000, "recent_messages_to_keep": 4}}
            },
        }
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_validate_accepts(tmp_path: Path, shape: str) -> None:
    done = validated(tmp_path, SHAPES[shape])
    assert done.returncode == 0, done.stdout + done.stderr
    done = validated(tmp_path, SHAPES[shape], "--json")
    assert done.returncode == 0 and isinstance(json.loads(done.stdout), dict)


FAULTY = {
    "version": "1",
    "providers": {"p": {"type": "opnai", "base_url": "ftp://x"}},
    "agents": [
        {"agent_id": "a", "provider": "demo", "model": "demo", "sytem_prompt": "x"},
        {"agent_id": "b", "provider": "dmo", "model": "demo", "limits": {"max_tool_round": 5}},
        {"agent_id": "b", "provider": "demo", "model": "demo", "client_tools": "mrge"},
        {"agent_id": "c", "provider": "demo", "model": 5, "system_prompt_file": "missing.md"},
        {"agent_id": "d", "provider": "demo", "model": "demo", "fallbacks": ["nobody"], "version": "one"},
        {"provider": "demo", "model": "demo"},
    ],
}
# JSON pointer, and what the report must say of it.
EXPECTED = [
    ("/providers/p/type", "openai"),
    ("/providers/p/base_url", "http"),
    ("/agents/0/sytem_prompt", "system_prompt"),
    ("/agents/1/provider", "demo"),
    ("/agents/1/limits/max_tool_round", "max_tool_rounds"),
    ("/agents/2/agent_id", "b"),
    ("/agents/2/client_tools", "merge"),
    ("/agents/3/model", "string"),
    ("/agents/3/system_prompt_file", "missing.md"),
    ("/agents/4/fallbacks/0", "nobody"),
    ("/agents/4/version", "1.0.0"),
    ("/agents/5", "agent_id"),
]


def test_validate_reports_all_faults_at_once(tmp_path: Path) -> None:
    done = validated(tmp_path, FAULTY)
    assert done.returncode == 1
    text = done.stdout + done.stderr
    for pointer, word in EXPECTED:
        assert pointer in text, f"{pointer} is not reported\n{text}"
        assert word in text
    assert "agent_config.json" in text and "\x1b[" not in text, "no colours in a pipe"


def test_validate_json(tmp_path: Path) -> None:
    done = validated(tmp_path, FAULTY, "--json")
    assert done.returncode == 1
    body = json.loads(done.stdout)
    faults = next(value for value in body.values() if isinstance(value, list) and value and "pointer" in value[0])
    by_pointer = {fault["pointer"]: fault for fault in faults}
    assert len(faults) == len(EXPECTED), sorted(by_pointer)
    for pointer, word in EXPECTED:
        fault = by_pointer[pointer]
        assert {"file", "pointer", "found", "allowed"} <= set(fault)
        assert word in json.dumps(fault)
    assert "system_prompt" in by_pointer["/agents/0/sytem_prompt"]["hint"], "the nearest valid key"


def test_validate_reports_settings_and_the_env_file_beside_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=loud\nPORT=80x\n")
    done = validated(tmp_path, FAULTY)
    assert done.returncode == 1
    for word in ("LOG_LEVEL", "loud", "PORT", "80x", "/providers/p/type", f"{len(EXPECTED) + 2} faults"):
        assert word in done.stdout, done.stdout
    done = validated(tmp_path, FAULTY, "--json")
    assert done.returncode == 1
    faults = json.loads(done.stdout)["faults"]
    assert {"file": "environment", "pointer": "LOG_LEVEL", "found": "loud", "allowed": "debug, info, warn or error"} in faults
    assert len(faults) == len(EXPECTED) + 2
    (tmp_path / ".env").write_text("LOG_LEVEL=info\nno value\n")
    done = validated(tmp_path, GOOD, "--json")
    assert done.returncode == 1
    body = json.loads(done.stdout)
    assert body["valid"] is False and [(fault["file"], fault["line"]) for fault in body["faults"]] == [(".env", 2)], body


@pytest.mark.parametrize(
    ("text", "line"),
    [('{\n  "agents": [\n  }\n', 3), ("", 1), ('{"a":1,"a":2}', 1), ("nonsense", 1), ('{"agents":[]}\x00', 1)],
)
def test_validate_syntax(tmp_path: Path, text: str, line: int) -> None:
    done = validated(tmp_path, text)
    assert done.returncode == 1
    report = done.stdout + done.stderr
    assert "agent_config.json" in report and (
        not text.startswith("{\n") or re.search(rf"(?:line |:){line}\b", report)
    ), report


def test_validate_missing_files(tmp_path: Path) -> None:
    done = run_cli("validate", "--config", "none.json", cwd=tmp_path)
    assert done.returncode == 1 and "none.json" in done.stdout + done.stderr
    (tmp_path / "agent_config.json").write_text(json.dumps(GOOD))
    done = run_cli("validate", "--config", "agent_config.json", "--mcp", "none-mcp.json", cwd=tmp_path)
    assert done.returncode == 1 and "none-mcp.json" in done.stdout + done.stderr


def test_validate_names_unset_variables_but_passes(tmp_path: Path) -> None:
    body = config(
        demo_agent(), agent("a", "p"), p={"type": "openai", "base_url": "http://x/v1", "api_key": "${SOME_KEY_NOT_SET}"}
    )
    done = validated(tmp_path, body)
    assert done.returncode == 0 and "SOME_KEY_NOT_SET" in done.stdout + done.stderr
    done = validated(tmp_path, body, env={"SOME_KEY_NOT_SET": "sk-secret-canary"})
    assert done.returncode == 0 and "SOME_KEY_NOT_SET" not in done.stdout + done.stderr
    assert "sk-secret-canary" not in done.stdout + done.stderr


MCP = [
    {"server_label": "files", "command": "npx", "args": ["-y", "server"], "env": {"TOKEN": "${MCP_TOKEN_NOT_SET}"}},
    {
        "server_label": "web",
        "server_url": "https://example.test/mcp",
        "header": {"authorization": "Bearer x"},
        "require_approval": "never",
    },
]


def test_validate_reads_mcp_json(tmp_path: Path) -> None:
    done = validated(tmp_path, GOOD, mcp=MCP)
    assert done.returncode == 0 and "MCP_TOKEN_NOT_SET" in done.stdout + done.stderr
    assert validated(tmp_path, GOOD, mcp={"mcpServers": {"files": {"command": "npx", "args": []}}}).returncode == 0
    done = validated(tmp_path, GOOD, mcp=[{"server_label": "x"}])
    assert done.returncode == 1 and "mcp.json" in done.stdout + done.stderr


def test_validate_names_an_authority_that_cannot_be_read(tmp_path: Path) -> None:
    """Of a tool server: it alone is unavailable, as with an env_file."""
    done = validated(tmp_path, GOOD, mcp={"mcpServers": {"docs": {"url": "https://x/mcp", "ca_file": "nope.pem"}}})
    assert done.returncode == 0 and "'docs' is unavailable: its ca_file \"nope.pem\" cannot be read" in done.stdout, done


def test_validate_and_agents_give_the_same_reasons(tmp_path: Path) -> None:
    body = config(
        demo_agent(),
        demo_agent("prompt", system_prompt="${NOPE_A}"),
        agent("all", "p", model="${NOPE_3}", system_prompt="${NOPE_1} ${NOPE_2}", description="${NOPE_4}"),
        agent("pem", "p"),
        p={"type": "openai", "base_url": "https://x/v1", "api_key": "k", "ca_file": "agent_config.json"},
    )
    done = validated(tmp_path, body, "--json")
    assert done.returncode == 0, done.stdout
    told = {entry["agent_id"]: entry["reason"] for entry in json.loads(done.stdout)["unavailable"]}
    assert list(told) == ["prompt", "all", "pem"]
    assert "NOPE_A" in told["prompt"] and all(f"NOPE_{number}" in told["all"] for number in (1, 2, 3, 4))
    assert "agent_config.json" in told["pem"]
    text = validated(tmp_path, body).stdout
    assert all(reason in text for reason in told.values())
    listed = run_cli("agents", "--config", "agent_config.json", "--mcp", "mcp.json", "--json", cwd=tmp_path)
    assert {one["agent_id"]: one.get("reason") for one in json.loads(listed.stdout)} == {"demo": None, **told}


def test_validate_checks_model_settings(tmp_path: Path) -> None:
    settings = {"temperature": 9, "max_tokens": -1, "temprature": 0.5, "stream": False, "messages": [{}], "n": 3}
    done = validated(tmp_path, config(demo_agent(model_settings=settings)), "--json")
    assert done.returncode == 0, "other servers take more than OpenAI"
    report = json.loads(done.stdout)
    warnings = "\n".join(report["warnings"])
    assert 'did you mean "temperature"' in warnings and '"stream" has no effect' in warnings
    assert '"messages" has no effect' in warnings and '"n"' not in warnings
    assert "temperature is 9, and OpenAI takes" in warnings and "max_tokens is -1, and OpenAI takes" in warnings


def test_validate_names_the_byte_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "agent_config.json").write_bytes('{\n  "agents": [{"agent_id": "Bär"}]}'.encode("latin-1"))
    done = run_cli("validate", "--config", "agent_config.json", cwd=tmp_path)
    assert done.returncode == 1 and "agent_config.json:2:29" in done.stdout and "0xE4" in done.stdout, done.stdout


def test_shipped_files_are_valid(tmp_path: Path) -> None:
    """The agents of the repository, with no key at all: valid, and the demo is alive."""
    root = Path(__file__).resolve().parents[2]
    done = run_cli("validate", "--config", str(root / "agent_config.json"), "--json", cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run_cli("agents", "--config", str(root / "agent_config.json"), cwd=root)
    assert done.returncode == 0 and "demo" in done.stdout


def test_agents(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(
        json.dumps(
            config(
                demo_agent(),
                agent("locked", "p"),
                p={"type": "openai", "base_url": "http://x/v1", "api_key": "${K_NOT_SET}"},
            )
        )
    )
    done = run_cli("agents", "--config", "c.json", cwd=tmp_path)
    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "demo" in lines and "K_NOT_SET" in lines["locked"]
    done = run_cli("agents", "--config", "c.json", "--json", cwd=tmp_path)
    body = json.loads(done.stdout)
    entries = body if isinstance(body, list) else next(value for value in body.values() if isinstance(value, list))
    assert [entry.get("agent_id", entry.get("id")) for entry in entries] == ["demo", "locked"]
    assert "K_NOT_SET" in json.dumps(entries[1]) and "K_NOT_SET" not in json.dumps(entries[0])


def test_version(tmp_path: Path) -> None:
    for arguments in (("version",), ("--version",)):
        done = run_cli(*arguments, cwd=tmp_path)
        assert done.returncode == 0 and re.search(r"\b\d+\.\d+\.\d+\b", done.stdout), done
    body = json.loads(run_cli("version", "--json", cwd=tmp_path).stdout)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", body["version"])


def test_help(tmp_path: Path) -> None:
    for arguments in (
        ("--help",),
        ("serve", "--help"),
        ("validate", "--help"),
        ("agents", "--help"),
        ("chat", "--help"),
        ("version", "--help"),
    ):
        done = run_cli(*arguments, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout and not done.stderr, done
    text = run_cli("--help", cwd=tmp_path).stdout
    assert all(verb in text for verb in ("serve", "validate", "agents", "chat", "version"))
    text = run_cli("serve", "--help", cwd=tmp_path).stdout
    for flag in ("--host", "--port", "--config", "--mcp", "--data", "--threads", "--allow-anonymous", "--log"):
        assert flag in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("serve", "--nonsense"),
        ("serve", "--port", "70000"),
        ("serve", "--port", "x"),
        ("serve", "--threads", "0"),
        ("serve", "--log", "xml"),
        ("chat",),
        ("serve", "--host", "not a host"),
        ("servee",),
    ],
    ids=" ".join,
)
def test_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "agent_config.json").write_text(json.dumps(GOOD))
    done = run_cli(*arguments, cwd=tmp_path)
    assert done.returncode not in (0, -6, -11, 134, 139), done
    assert arguments[-1] in done.stderr or arguments == ("chat",), done.stderr
    assert not done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("keys", "creat"), "parley keys: there is no command 'creat'; did you mean 'create'?"),
        (("mcp", "docter"), "did you mean 'doctor'?"),
        (("serve", "--prot", "8100"), "there is no option '--prot'; did you mean '--port'?"),
        (("keys", "list", "--jsn"), "did you mean '--json'?"),
        (("agents", "one"), "parley agents: 'one' is more than it takes"),
        (("keys",), "rotate"),
    ],
    ids=" ".join,
)
def test_what_was_meant_is_told(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    done = run_cli(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and told in done.stderr and not done.stdout, done


@pytest.mark.parametrize("value", ["99999", "-1", "abc", "", None, "80x", "1e3"])
def test_a_port_that_is_none(tmp_path: Path, value: str | None) -> None:
    done = run_cli("serve", "--port", *([] if value is None else [value]), cwd=tmp_path)
    assert done.returncode == 2 and "--port" in done.stderr and "0 to 65535" in done.stderr, done


def test_chat_as_json_needs_its_message(tmp_path: Path) -> None:
    done = run_cli("chat", "demo", "--json", cwd=tmp_path, stdin="hello\n")
    assert done.returncode == 2 and "--json" in done.stderr and "--message" in done.stderr and not done.stdout, done


def test_no_arguments_show_the_way(tmp_path: Path) -> None:
    done = run_cli(cwd=tmp_path)
    assert done.returncode != 0 and "serve" in done.stdout + done.stderr


def serve_fails(start_gateway, configuration: object, **options) -> str:
    gateway: Gateway = start_gateway(configuration, start=False, **options)
    with pytest.raises(StartFailed) as failure:
        gateway.start()
    text = str(failure.value)
    gateway.kill()
    code = int(re.search(r"exit code (-?\d+|None)", text)[1])
    assert code > 0, text
    return text


def test_serve_refuses_a_bad_configuration(start_gateway) -> None:
    text = serve_fails(start_gateway, FAULTY)
    for pointer, _ in EXPECTED:
        assert pointer in text, text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::0"])
def test_serve_refuses_the_open_without_keys(start_gateway, host: str) -> None:
    text = serve_fails(start_gateway, GOOD, bind=("--host", host, "--port", "0"))
    assert "PARLEY_API_KEYS" in text and "--allow-anonymous" in text


def test_serve_in_the_open_with_keys_or_on_purpose(start_gateway) -> None:
    start_gateway(GOOD, bind=("--host", "0.0.0.0", "--port", "0"), keys=("sk-open-0123456789",))
    start_gateway(GOOD, bind=("--host", "0.0.0.0", "--port", "0"), args=("--allow-anonymous",))


def test_serve_names_a_port_that_is_taken(start_gateway) -> None:
    first = start_gateway(GOOD)
    import socket

    with socket.socket() as taken:  # held without SO_REUSEPORT, so that sharing is impossible
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = serve_fails(start_gateway, GOOD, bind=("--host", "127.0.0.1", "--port", str(port)))
    assert str(port) in text and "in use" in text
    # A second gateway on the first one's port is a mistake too, although the kernel would let them share.
    text = serve_fails(start_gateway, GOOD, bind=("--host", "127.0.0.1", "--port", str(first.address[1])))
    assert "in use" in text


def test_start_up_says_what_a_person_needs(tmp_path: Path, start_gateway) -> None:
    """With --log text: address, agents and why not, a curl to paste."""
    import signal
    import subprocess
    import time

    from harness.gateway import binary, clean_environment

    body = config(
        demo_agent(), agent("locked", "p"), p={"type": "openai", "base_url": "http://x/v1", "api_key": "${K_NOT_SET}"}
    )
    (tmp_path / "agent_config.json").write_text(json.dumps(body))
    headers = {"Authorization": "Bearer ${DOCS_NOT_SET}"}
    tools = {"docs": {"url": "http://127.0.0.1:9/mcp", "headers": headers}}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": tools}))
    process = subprocess.Popen(
        [str(binary()), "serve", "--port", "0", "--log", "text"],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    time.sleep(1.0 * SLACK)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=20 * SLACK)
    assert process.returncode == 0, text
    port = re.search(r"http://127\.0\.0\.1:(\d+)", text)
    assert port, text
    assert "curl" in text and f":{port[1]}/v1/chat/completions" in text
    assert "demo" in text and "locked" in text and "K_NOT_SET" in text
    assert re.search(r"docs +unavailable +DOCS_NOT_SET is not set", text), text
    assert "\x1b[" not in text, "no colours in a pipe"


def test_chat_streams_to_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "agent_config.json").write_text(json.dumps(GOOD))
    done = run_cli("chat", "demo", "--config", "agent_config.json", cwd=tmp_path, stdin="say canary-chat\n")
    assert done.returncode == 0, done
    assert "canary-chat" in done.stdout and "\x1b[" not in done.stdout
    done = run_cli("chat", "nobody", "--config", "agent_config.json", cwd=tmp_path, stdin="x\n")
    assert done.returncode != 0 and "nobody" in done.stderr


def test_chat_needs_no_key_of_the_store(tmp_path: Path, start_gateway) -> None:
    """The gateway of a chat is there for this chat; a gateway that others use wants a key, and the way to show it is told."""
    (tmp_path / "agent_config.json").write_text(json.dumps(GOOD))
    made = run_cli("keys", "create", "--name", "a", "--json", cwd=tmp_path)
    key = json.loads(made.stdout)["key"]
    done = run_cli("chat", "demo", "-m", "say canary-chat", cwd=tmp_path)
    assert done.returncode == 0 and "canary-chat" in done.stdout, done
    gateway = start_gateway(GOOD, keys=("sk-others-0123456789",), data=tmp_path / "data")
    url = "http://{}:{}".format(*gateway.address)
    done = run_cli("chat", "demo", "-m", "hello", "--url", url, cwd=tmp_path)
    assert done.returncode == 1 and "PARLEY_API_KEY" in done.stderr, done
    done = run_cli("chat", "demo", "-m", "say canary-chat", "--url", url, cwd=tmp_path, env={"PARLEY_API_KEY": key})
    assert done.returncode == 0 and "canary-chat" in done.stdout, done
    gateway.kill()
    done = run_cli("chat", "demo", "-m", "hello", "--url", url, cwd=tmp_path)
    assert done.returncode == 1 and f"Gateway '{url}'" in done.stderr, done


def test_small_budgets_are_shown_in_full(tmp_path: Path) -> None:
    for budget in ("0.0005", "2", "1.25"):
        run_cli("keys", "create", "--name", "a", "--budget-usd", budget, cwd=tmp_path)
    shown = run_cli("keys", "list", cwd=tmp_path).stdout
    assert all(f"0.00 of {budget} USD" in shown for budget in ("0.0005", "2.00", "1.25")), shown
