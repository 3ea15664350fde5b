"""Every environment variable of the original deployment guide that concerns this slice, and .env
(facts/openwebui.md §1a).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat, chat_body, stream
from harness.configs import agent, config, demo_agent
from harness.gateway import SLACK, Gateway, StartFailed, binary, clean_environment, run_cli, wait_until
from harness.wires import BY_NAME, TEXT, WIRES

# type of provider -> the wire it speaks there, and its variables ({url} is the fake upstream's)
DEFAULTS = {
    "openai": ("openai", {"OPENAI_API_KEY": "{key}", "OPENAI_BASE_URL": "{url}/v1"}),
    "azure_openai_cc": (
        "azure-cc",
        {"AZURE_OPENAI_API_KEY": "{key}", "AZURE_OPENAI_BASE_URL": "{url}", "AZURE_OPENAI_API_VERSION": "2024-10-21"},
    ),
    "azure_openai_cc-v1": (
        "azure-cc-v1",
        {"AZURE_OPENAI_API_KEY": "{key}", "AZURE_OPENAI_BASE_URL": "{url}/openai/v1/"},
    ),
    "azure_openai": (
        "azure-responses-classic",
        {
            "AZURE_OPENAI_API_KEY": "{key}",
            "AZURE_OPENAI_BASE_URL": "{url}/",
            "AZURE_OPENAI_API_VERSION": "2025-04-01-preview",
        },
    ),
    "openrouter": ("openrouter", {"OPENROUTER_API_KEY": "{key}", "OPENROUTER_BASE_URL": "{url}/api/v1"}),
    "ollama": ("ollama", {"OLLAMA_BASE_URL": "{url}"}),
}


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("source", ["environment", "dotenv"])
def test_default_instances(start_gateway, upstream: up.FakeUpstream, name: str, source: str) -> None:
    """`provider` names a type: everything else comes from the environment, or from .env in the working folder."""
    wire_name, variables = DEFAULTS[name]
    wire = BY_NAME[wire_name]
    key = wire.auth[1].removeprefix("Bearer ")
    env = {variable: value.format(url=upstream.url, key=key) for variable, value in variables.items()}
    upstream.on(up.json_reply(wire.answer))
    configuration = config(agent("a", name.removesuffix("-v1")))
    if source == "environment":
        gateway = start_gateway(configuration, env=env)
    else:
        gateway = start_gateway(
            configuration,
            files={".env": "# keys\n" + "".join(f'{variable}="{value}"\n' for variable, value in env.items())},
        )
    answer = chat(gateway, "a")
    assert answer.status == 200, answer.body
    assert answer.json()["choices"][0]["message"]["content"] == TEXT
    request = upstream.last.request
    assert request.target == wire.target
    if name != "ollama":
        assert request.header(wire.auth[0]) == wire.auth[1]


@pytest.mark.parametrize(
    ("name", "prefix", "path"),
    [
        ("openai", "OPENAI", "/v1"),
        ("openrouter", "OPENROUTER", "/api/v1"),
        ("ollama", "OLLAMA", ""),
        ("azure_openai_cc", "AZURE_OPENAI", "/openai/v1"),
    ],
)
def test_default_model(start_gateway, upstream: up.FakeUpstream, name: str, prefix: str, path: str) -> None:
    wire = next(wire for wire in WIRES if wire.type == name)
    upstream.on(up.json_reply(wire.answer))
    env = {f"{prefix}_BASE_URL": upstream.url + path, f"{prefix}_API_KEY": "k", f"{prefix}_DEFAULT_MODEL": "from-env"}
    gateway = start_gateway(config({"agent_id": "a", "provider": name}), env=env)
    assert chat(gateway, "a").status == 200
    assert upstream.last.request.json()["model"] == "from-env"


def test_missing_variables_are_named(start_gateway) -> None:
    gateway = start_gateway(
        config(demo_agent(), agent("az", "azure_openai"), agent("or", "openrouter"), agent("oa", "openai"))
    )
    for agent_id, variable in (("az", "AZURE_OPENAI_API_KEY"), ("or", "OPENROUTER_API_KEY"), ("oa", "OPENAI_API_KEY")):
        answer = chat(gateway, agent_id)
        assert answer.status == 503 and variable in answer.error["message"]
    detailed = call(gateway, "GET", "/health?detailed=true").body.decode()
    assert all(name in detailed for name in ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_BASE_URL", "OPENROUTER_API_KEY"))
    assert chat(gateway, "demo").status == 200


def told_unavailable(gateway: Gateway, event: str = "agent_unavailable") -> list[dict]:
    return [log for log in gateway.logs if log.get("event") == event]


def test_the_log_names_missing_variables(start_gateway) -> None:
    mcp = {"unset": {"command": "x", "env": {"T": "${TOKEN_NOT_SET}"}}, "off": {"command": "x", "disabled": True}}
    body = config(demo_agent(), agent("oa", "openai"), agent("or", "openrouter"))
    gateway = start_gateway(body, mcp=mcp)
    told = {log["agent"]: log for log in told_unavailable(gateway)}
    assert set(told) == {"oa", "or"} and all(log["level"] == "warn" for log in told.values())
    assert "OPENAI_API_KEY" in told["oa"]["reason"] and "OPENROUTER_API_KEY" in told["or"]["reason"]
    servers = told_unavailable(gateway, "mcp_server_unavailable")
    assert [log["server"] for log in servers] == ["unset"] and "TOKEN_NOT_SET" in servers[0]["reason"]
    gateway.write_config(config(demo_agent(), agent("oa", "openai"), agent("later", "openai")))
    reloaded = gateway.wait_log(lambda log: log.get("event") == "config_reloaded")
    assert (reloaded["agents"], reloaded["available"]) == (3, 1)
    assert sorted(log["agent"] for log in told_unavailable(gateway)) == ["later", "oa", "or"], "what is new, and no more"
    assert len(told_unavailable(gateway, "mcp_server_unavailable")) == 1


def test_the_log_names_the_first_of_many(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent(), *(agent(f"a{number:02}", "openai") for number in range(25))))
    told = told_unavailable(gateway)
    assert [log.get("agent") for log in told] == [f"a{number:02}" for number in range(20)] + [None]
    assert told[-1]["not_shown"] == 5


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name != "ollama"])
def test_a_mounted_key_loses_its_line_end(start_gateway, upstream: up.FakeUpstream, name: str) -> None:
    """Sent as it is, it would end the head, and the body would be read as the next request."""
    wire_name, variables = DEFAULTS[name]
    wire = BY_NAME[wire_name]
    key = wire.auth[1].removeprefix("Bearer ")
    env = {variable: value.format(url=upstream.url, key=f" {key}\r\n") for variable, value in variables.items()}
    upstream.on(up.json_reply(wire.answer))
    gateway = start_gateway(config(agent("a", name.removesuffix("-v1"))), env=env)
    for _ in range(2):
        assert chat(gateway, "a").status == 200
        assert upstream.last.request.header(wire.auth[0]) == wire.auth[1]
        assert upstream.last.request.json()
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("key", ["sk-a\nX-Evil: 1", "sk-a\r\n\r\nGET / HTTP/1.1\r\nhost: evil", "sk-a\x01b"])
def test_a_key_of_two_lines_is_never_sent(start_gateway, upstream: up.FakeUpstream, key: str) -> None:
    upstream.on(up.json_reply(BY_NAME["openai"].answer))
    env = {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": upstream.url + "/v1"}
    gateway = start_gateway(config(demo_agent(), agent("a", "openai")), env=env)
    answer = chat(gateway, "a")
    assert answer.status == 503 and "OPENAI_API_KEY" in answer.error["message"] and b"sk-a" not in answer.body
    assert not upstream.requests


def test_an_agent_without_its_prompt_does_not_answer(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent(), demo_agent("a", system_prompt="You work for ${TEAM_NOT_SET}.")))
    answer = chat(gateway, "a")
    assert answer.status == 503 and "TEAM_NOT_SET" in answer.error["message"]
    assert chat(gateway, "demo").status == 200


@pytest.mark.parametrize(
    ("wire", "header"), [("openai", "Authorization"), ("azure-cc", "API-Key"), ("openai", "User-Agent")], ids=str
)
def test_a_configured_header_is_sent_in_place_of_ours(
    start_gateway, upstream: up.FakeUpstream, wire: str, header: str
) -> None:
    upstream.on(up.json_reply(BY_NAME[wire].answer))
    provider = BY_NAME[wire].provider(upstream.url, headers={header: "Basic own"})
    gateway = start_gateway(config(agent("a", "p"), p=provider))
    assert chat(gateway, "a").status == 200
    sent = [value for name, value in upstream.last.request.headers if name == header.lower()]
    assert sent == ["Basic own"]


def test_a_configured_authorization_is_sent_in_place_of_a_token(start_gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.json_reply(BY_NAME["azure-cc"].answer))
    provider = BY_NAME["azure-cc"].provider(upstream.url, headers={"authorization": "Bearer own"})
    del provider["api_key"]
    provider["entra"] = {"tenant_id": "t", "client_id": "c", "client_secret": "s", "token_url": upstream.url + "/token"}
    gateway = start_gateway(config(agent("a", "p"), p=provider))
    assert chat(gateway, "a").status == 200
    (exchange,) = upstream.requests
    assert [value for name, value in exchange.headers if name == "authorization"] == ["Bearer own"]


def test_substitution(start_gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.json_reply(BY_NAME["openai"].answer))
    provider = {
        "type": "openai",
        "base_url": "${BASE:-http://127.0.0.1:1}/v1",
        "api_key": "${env:KEY_A}",
        "headers": {"x-tenant": "t-${TENANT:-none}", "x-literal": "$5 {x} $${y}"},
    }
    gateway = start_gateway(
        config(agent("a", "p", system_prompt="I am ${WHO:-nobody}."), p=provider),
        env={"BASE": upstream.url, "KEY_A": "sk-a-0123456789"},
    )
    assert chat(gateway, "a").status == 200
    request = upstream.last.request
    assert request.header("authorization") == "Bearer sk-a-0123456789" and request.header("x-tenant") == "t-none"
    assert request.json()["messages"][0]["content"] in ("I am nobody.", "I am ${WHO:-nobody}.")
    assert "${KEY_A}" not in str(request.headers)


def test_a_literal_variable_is_never_sent(start_gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.json_reply(BY_NAME["openai"].answer))
    gateway = start_gateway(
        config(
            demo_agent(),
            agent("a", "p"),
            p=BY_NAME["openai"].provider(upstream.url, headers={"x-token": "${TOKEN_NOT_SET}"}),
        )
    )
    answer = chat(gateway, "a")
    assert answer.status == 503 and "TOKEN_NOT_SET" in answer.error["message"]
    assert not upstream.requests


# ---- where the gateway listens and finds its files


def test_host_and_port(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent()), env={"HOST": "127.0.0.2", "PORT": "0"}, bind=())
    assert gateway.address[0] == "127.0.0.2"
    assert call(gateway, "GET", "/livez").status == 200


def test_flag_beats_environment_beats_dotenv(start_gateway) -> None:
    dotenv = {".env": "HOST=127.0.0.4\nPORT=0\n"}
    assert start_gateway(config(demo_agent()), files=dotenv, bind=()).address[0] == "127.0.0.4"
    assert (
        start_gateway(config(demo_agent()), files=dotenv, env={"HOST": "127.0.0.3"}, bind=()).address[0] == "127.0.0.3"
    )
    assert (
        start_gateway(
            config(demo_agent()), files=dotenv, env={"HOST": "127.0.0.3"}, bind=("--host", "127.0.0.1")
        ).address[0]
        == "127.0.0.1"
    )


def test_a_dotenv_that_cannot_be_read() -> None:
    """Root's .env, and a gateway that runs as nobody: it must not start without the keys that are in it."""
    with tempfile.TemporaryDirectory(prefix="parley-env-") as name:  # that of pytest is closed to others
        folder, program = Path(name), Path(name) / "parley"
        shutil.copy(binary(), program)
        (folder / "agent_config.json").write_text(json.dumps(config(demo_agent())))
        (folder / ".env").write_text("PARLEY_API_KEYS=sk-in-dotenv-0123456789\n")
        folder.chmod(0o755)
        (folder / ".env").chmod(0o600 if os.geteuid() == 0 else 0)
        nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        for command in (("serve", "--port", "0"), ("agents",), ("keys", "list"), ("chat", "demo", "-m", "x")):
            done = subprocess.run([str(program), *command], cwd=folder, env=clean_environment(folder), capture_output=True,
                                  text=True, timeout=20 * SLACK, check=False, **nobody)  # fmt: skip
            assert done.returncode == 1 and ".env cannot be read: Permission denied" in done.stderr, done


def test_a_dotenv_that_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "agent_config.json").write_text(json.dumps(config(demo_agent())))
    (tmp_path / ".env").mkdir()
    done = run_cli("agents", cwd=tmp_path)
    assert done.returncode == 1 and ".env is a directory" in done.stderr, done


def test_a_dotenv_may_be_a_pipe(tmp_path: Path) -> None:
    """Managers of secrets hand it out so."""
    (tmp_path / "agent_config.json").write_text(json.dumps(config(agent("a", "openai", model="m"))))
    os.mkfifo(tmp_path / ".env")
    writer = threading.Thread(target=(tmp_path / ".env").write_text, args=("OPENAI_API_KEY=sk-piped\n",), daemon=True)
    writer.start()
    done = run_cli("agents", cwd=tmp_path)
    writer.join(5)
    assert done.returncode == 0 and "unavailable" not in done.stdout, done


def test_a_reload_without_its_dotenv_is_refused(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent()), files={".env": "A=1\n"})
    (gateway.folder / ".env").unlink()
    (gateway.folder / ".env").mkdir()
    gateway.signal(signal.SIGHUP)
    log = gateway.wait_log(lambda one: one.get("event") == "config_refused")
    assert log and ".env is a directory" in log["report"]

    def refusal() -> str:
        return call(gateway, "GET", "/health?detailed=true").json()["config"].get("last_refusal", "")

    wait_until(lambda: ".env is a directory" in refusal(), what="the refusal in /health")
    assert chat(gateway, "demo").status == 200


def test_config_paths(tmp_path: Path, start_gateway, upstream: up.FakeUpstream) -> None:
    """AGENT_CONFIG_PATH, MCP_CONFIG_PATH and PROMPTS_DIR_PATH, with no flags."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/agents.json").write_text(json.dumps(config(demo_agent("found", system_prompt_file="p.txt"))))
    (tmp_path / "deep/mcp.json").write_text("[]")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/p.txt").write_text("x")
    env = {"AGENT_CONFIG_PATH": "deep/agents.json", "MCP_CONFIG_PATH": "deep/mcp.json", "PROMPTS_DIR_PATH": "texts"}
    done = run_cli("agents", cwd=tmp_path, env=env)
    assert done.returncode == 0 and "found" in done.stdout, done
    done = run_cli("validate", cwd=tmp_path, env={**env, "MCP_CONFIG_PATH": "deep/none.json"})
    assert done.returncode == 1 and "none.json" in done.stdout + done.stderr
    done = run_cli("validate", cwd=tmp_path, env={**env, "PROMPTS_DIR_PATH": "none"})
    assert done.returncode == 1 and "p.txt" in done.stdout + done.stderr


@pytest.mark.parametrize(("level", "told"), [("ERROR", False), ("debug", True), ("INFO", True), ("warning", False)])
def test_log_level(start_gateway, level: str, told: bool) -> None:
    """Python's spellings too, as the original took them. `listening` is always told: it is the start-up's result."""
    gateway = start_gateway(config(demo_agent()), env={"LOG_LEVEL": level})
    chat(gateway, "demo", headers={"x-request-id": "level-test-1"})
    assert (
        gateway.wait_log(lambda log: log.get("request_id") == "level-test-1", timeout=1.0 if told else 0.3) is not None
    ) == told


# ---- limits


def test_request_timeout(start_gateway, upstream: up.FakeUpstream) -> None:
    """REQUEST_TIMEOUT (seconds) is the wall clock of a run, before and after the first token."""
    gateway = start_gateway(
        config(agent("a", "p"), p=BY_NAME["openai"].provider(upstream.url)), env={"REQUEST_TIMEOUT": "1"}
    )
    upstream.on(up.hang_before_head)
    began = time.monotonic()
    answer = chat(gateway, "a")
    assert answer.status == 504 and 0.9 < time.monotonic() - began < 2 * SLACK
    upstream.clear()
    upstream.on(up.pieces(BY_NAME["openai"].events[:2], then="hang"))
    with Stream(gateway, chat_body("a", "x", stream=True)) as running:
        running.read().check_failed()
    assert upstream.wait_request().wait_closed(2 * SLACK)


def test_agent_timeout_beats_request_timeout(start_gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.hang_before_head)
    gateway = start_gateway(
        config(agent("a", "p", limits={"timeout_s": 1}), p=BY_NAME["openai"].provider(upstream.url)),
        env={"REQUEST_TIMEOUT": "30"},
    )
    began = time.monotonic()
    assert chat(gateway, "a").status == 504
    assert time.monotonic() - began < 3 * SLACK


def test_the_demo_ends_in_time_too(start_gateway) -> None:
    """It is there to try everything with."""
    gateway = start_gateway(config(demo_agent(limits={"timeout_s": 1})))
    began = time.monotonic()
    seen = stream(gateway, "demo", "/slow 400 one two three four five six seven eight nine")
    assert seen.check_failed()["code"] == "deadline_exceeded" and seen.text.startswith("one"), seen
    assert 0.9 < time.monotonic() - began < 3 * SLACK
    assert "nine" not in seen.text


def test_variables_of_later_slices_do_no_harm(start_gateway) -> None:
    env = {
        "DATABASE_URL": "",
        "POSTGRES_USER": "u",
        "POSTGRES_PASSWORD": "p",
        "POSTGRES_DB": "d",
        "POSTGRES_PORT": "5432",
        "MCP_TOOL_CACHE_TTL": "300",
        "TOOL_EXECUTION_TIMEOUT": "30",
        "MEMORY_COMPRESSION_TOKEN_THRESHOLD": "8000",
        "MEMORY_CLEANUP_INTERVAL_HOURS": "24",
        "ENABLE_USER_SESSION_MANAGEMENT": "false",
        "AUTH_TRUSTED_ID_HEADER": "X-OpenWebUI-User-Id",
        "AUTH_CHAT_ID_HEADER": "X-OpenWebUI-Chat-Id",
        "AUTH_FALLBACK_USER_ID": "default_user",
        "LOG_LEVEL": "INFO",
        "AZURE_OPENAI_MODEL_LIST": "a,b",
        "OPENROUTER_MODEL_LIST": "a|b",
    }
    gateway: Gateway = start_gateway(config(demo_agent()), env=env)
    assert chat(gateway, "demo").status == 200


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "x"),
        ("PORT", "70000"),
        ("MAX_CONCURRENT_REQUESTS", "many"),
        ("REQUEST_TIMEOUT", "-1"),
        ("LOG_LEVEL", "loud"),
        ("PARLEY_DRAIN_SECONDS", "x"),
        ("PARLEY_BODY_BYTES_MAX", "-5"),
        ("PARLEY_HEARTBEAT_MS", "fast"),
        ("PARLEY_CORS_ORIGINS", "*"),
        ("PARLEY_CORS_ORIGINS", "https://a.org, b.org"),
        ("PARLEY_CORS_ORIGINS", "https://*.a.org"),
        ("PARLEY_USER_JWT_HEADER", "a b"),
        ("PARLEY_SESSION_HEADERS", "a b,,"),
        ("PARLEY_SESSION_HEADERS", ","),
        ("PARLEY_USER_HEADERS", "a b"),
    ],
)
def test_wrong_values_are_refused_by_name(start_gateway, variable: str, value: str) -> None:
    gateway = start_gateway(
        config(demo_agent()),
        start=False,
        env={variable: value},
        bind=() if variable == "PORT" else ("--host", "127.0.0.1", "--port", "0"),
    )
    with pytest.raises(StartFailed) as failure:
        gateway.start()
    gateway.kill()
    text = str(failure.value)
    assert variable in text and "exit code None" not in text and "exit code 0" not in text, text
