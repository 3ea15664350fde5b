"""What brings the gateway up elsewhere: the compose file, the image's list, the unit, the dashboard, .env.example.

Here everything that needs no network, no root and no engine; `make image` builds and starts the image itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from harness.api import call, chat, chat_body
from harness.configs import config, demo_agent
from harness.gateway import SLOW, Gateway, binary, run_cli
from test_users import token

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ROOMS = ("core", "chat", "net", "storage", "memory", "providers", "mcp", "policy", "agents", "server")
PUBLISHED = {"parley", "open-webui"}  # and with a profile Grafana
NAME = r"[A-Z][A-Z0-9_]*"


def text(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text()


# ---- variables

# Read by the program, and no settings of it.
NOT_SETTINGS = {
    "HOME": "what ${userHome} in mcp.json means",
    "NO_COLOR": "a custom of terminals",
    "MCP_CONFORMANCE_SCENARIO": "set by the MCP conformance suite",
    "MCP_CONFORMANCE_PROTOCOL_VERSION": "set by the MCP conformance suite",
    "MCP_CONFORMANCE_CONTEXT": "set by the MCP conformance suite",
}
# .env.example has one variable for each name that begins so.
FAMILIES = {"MCP_INPUT_"}
# docs/configuration.md names the providers' variables by their parts; .env.example has them all.
OF_PROVIDERS = re.compile(r"(OPENAI|OPENROUTER|AZURE|AZURE_OPENAI|OLLAMA)_[A-Z_]+")


def sources() -> dict[str, str]:
    return {str(file.relative_to(ROOT)): file.read_text() for room in ROOMS for file in (ROOT / room).glob("*.[ch]pp")}


def read_by_the_program() -> set[str]:
    """Names in every form in which a variable is read. A new form shows up in test_no_variable_is_read_unseen."""
    names: set[str] = set()
    for file, body in sources().items():
        if file == "agents/config_mcp_options.cpp":
            continue  # its `text` reads members of mcp.json, some of which are in capitals
        names |= set(re.findall(rf'\b(?:text|number|milliseconds|flag|ask|variable|find|getenv)\("({NAME})"', body))
        names |= set(re.findall(rf'\b(?:header_names|key_list|origins|read_environment)\((?:reader, )?"({NAME})"', body))
        names |= set(re.findall(rf'\{{"(POSTGRES_{NAME})", "', body))
    # Those of providers are made of a type's prefix and what complete_provider asks for.
    body = text("agents", "config_provider_defaults.cpp")
    prefixes = set(re.findall(rf'ProviderType\{{"\w+", "({NAME})"', body))
    assert prefixes == {"OPENAI", "AZURE_OPENAI", "OPENROUTER", "OLLAMA"}, prefixes
    azure_only = {"_ENDPOINT", "_API_VERSION"}
    asked = set(re.findall(r'value\("(_[A-Z_]+)"\)', body))
    assert azure_only < asked, asked
    names |= {prefix + name for prefix in prefixes for name in asked if prefix == "AZURE_OPENAI" or name not in azure_only}
    names |= {"AZURE_" + name for name in re.findall(rf'value\("({NAME})"\)', body)}
    assert len(names) > 60, sorted(names)
    return names - set(NOT_SETTINGS)


def explained() -> set[str]:
    return set(re.findall(rf"^#?({NAME})=", text(".env.example"), re.M))


def in_docs() -> set[str]:
    """Written in full, or as `_SUFFIX` behind one that is (`POSTGRES_HOST`, `_PORT`)."""
    names: set[str] = set()
    for page in sorted((ROOT / "docs").glob("*.md")):
        for line in page.read_text().splitlines():
            last = ""
            for name in re.findall(rf"`(_?{NAME})(?:=[^`]*)?`", line):
                if name.startswith("_"):
                    name = last.split("_")[0] + name
                else:
                    last = name
                names.add(name)
    return names


def without_families(names: set[str]) -> set[str]:
    return {name for name in names if not any(name.startswith(family) for family in FAMILIES)}


def in_compose() -> set[str]:
    return set(re.findall(rf"(?<!\$)\$\{{({NAME})", text("docker-compose.yml")))


def test_every_variable_is_in_env_example_and_none_that_nobody_reads() -> None:
    read, written = read_by_the_program(), explained()
    assert read - written == set(), ".env.example does not explain these"
    assert without_families(written - read) - in_compose() == set(), "nobody reads these of .env.example"
    for family in FAMILIES:
        assert any(name.startswith(family) for name in written) and any(f'"{family}"' in body for body in sources().values())


def test_every_variable_is_in_the_docs_and_none_that_nobody_reads() -> None:
    read, told = read_by_the_program(), in_docs()
    assert {name for name in read - told if not OF_PROVIDERS.fullmatch(name)} == set(), "no page of docs/ names these"
    known = read | in_compose() | set(NOT_SETTINGS)
    ours = {name for name in told if re.match(r"(PARLEY|POSTGRES|MCP|MEMORY|TOOL|OPENAI|OLLAMA|OPENROUTER|AZURE)_", name)}
    foreign = set(compose({})["services"]["open-webui"]["environment"])  # named where the wiring is told
    assert without_families(ours - known - foreign) == set(), "docs/ names these, and nobody reads them"


def test_no_variable_is_read_unseen() -> None:
    """Whatever looks like a variable of ours in a string of the sources is known, however it is read."""
    known = read_by_the_program() | set(NOT_SETTINGS) | FAMILIES | {"AZURE_", "AZURE_OPENAI"}
    of_openssl_or_cmake = re.compile(r"PARLEY_(PRECOMPILED|HAVE)_")
    for name, body in sources().items():
        code = re.sub(r"//.*", "", body)
        for found in re.findall(r'"((?:PARLEY|POSTGRES|MCP|MEMORY|AZURE|OPENAI|OLLAMA|OPENROUTER)_[A-Z0-9_]*)"', code):
            assert found in known or of_openssl_or_cmake.match(found), f"{name}: {found}"


def test_env_example_is_a_valid_env_file_as_it_is(tmp_path: Path) -> None:
    """Copied and every # before a variable taken away, too: examples must be of the right form."""
    shipped(tmp_path)
    example = text(".env.example")
    for body in (example, re.sub(rf"^#({NAME}=)", r"\1", example, flags=re.M)):
        (tmp_path / ".env").write_text(body)
        done = run_cli("validate", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "agents" in done.stdout


# ---- docker-compose.yml


def expand(value: object, variables: dict[str, str]) -> object:
    """Compose's ${NAME}, ${NAME:-default} (nested) and $$. A variable without a default is a fault of ours."""
    if isinstance(value, dict):
        return {key: expand(one, variables) for key, one in value.items()}
    if isinstance(value, list):
        return [expand(one, variables) for one in value]
    if not isinstance(value, str):
        return value
    innermost = re.compile(rf"(?<!\$)\$\{{({NAME}):-([^${{}}]*)\}}")
    while found := innermost.search(value):
        value = value[: found.start()] + (variables.get(found[1]) or found[2]) + value[found.end() :]
    assert not re.search(r"(?<!\$)\$[{\w]", value), f"not expanded: {value}"
    return value.replace("$$", "$")


def compose(variables: dict[str, str]) -> dict:
    return expand(yaml.safe_load(text("docker-compose.yml")), variables)


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, duration
    return int(found[1])


def test_compose_names_only_what_it_declares() -> None:
    file = compose({})
    services = file["services"]
    used: dict[str, set[str]] = {"volumes": set(), "networks": {"default"}, "configs": set()}
    for name, service in services.items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name} mounts {source}"
                assert mount.endswith(":ro"), mount
            else:
                used["volumes"].add(source)
        used["networks"] |= set(service.get("networks", []))
        used["configs"] |= {one["source"] for one in service.get("configs", [])}
        depends = service.get("depends_on", {})
        for other in depends:
            assert other in services, f"{name} depends on {other}"
            # What is started without a profile must not need what is not.
            assert set(services[other].get("profiles", [])) <= set(service.get("profiles", [])), (name, other)
            if isinstance(depends, dict) and depends[other]["condition"] == "service_healthy":
                assert services[other]["healthcheck"]["test"][0] == "CMD", other
    for kind, names in used.items():
        assert names == set(file[kind]), kind


def test_compose_starts_in_an_order_that_ends() -> None:
    services = compose({})["services"]
    started: list[str] = []
    while len(started) < len(services):
        ready = [name for name in services if name not in started and set(services[name].get("depends_on", {})) <= set(started)]
        assert ready, f"a ring of dependencies; started are {started}"
        started += ready
    assert started.index("postgres") < started.index("parley") < started.index("open-webui")


def test_compose_publishes_on_this_machine_alone() -> None:
    for name, service in compose({})["services"].items():
        ports = service.get("ports", [])
        assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports), (name, ports)
        assert not ports or name in PUBLISHED or service["profiles"], name
        assert "network_mode" not in service and not service.get("privileged"), name


def test_compose_pins_its_images_and_closes_what_can_be_closed() -> None:
    for name, service in compose({})["services"].items():
        image, _, tag = service["image"].rpartition(":")
        assert image and re.search(r"\d|^local$", tag), f"{name}: {service['image']}"
        assert service["security_opt"] == ["no-new-privileges:true"], name
    parley = compose({})["services"]["parley"]
    assert parley["read_only"] is True and parley["cap_drop"] == ["ALL"] and "cap_add" not in parley
    drain = int(parley["environment"]["PARLEY_DRAIN_SECONDS"])
    assert seconds(parley["stop_grace_period"]) > drain


@pytest.mark.parametrize(
    "set_by_the_user",
    [
        {},
        {"PARLEY_API_KEY": "one"},
        {"PARLEY_API_KEYS": "one"},
        {"PARLEY_API_KEY": "two", "PARLEY_API_KEYS": "one,two"},
        {"PARLEY_OPENWEBUI_JWT_SECRET": "sixteen-or-longer", "POSTGRES_PASSWORD": "it's \\ odd/@:"},
    ],
    ids=lambda one: "+".join(one) or "nothing",
)
def test_compose_gives_both_ends_the_same_secrets(set_by_the_user: dict[str, str]) -> None:
    file = compose(set_by_the_user)
    parley, postgres, webui = (file["services"][name]["environment"] for name in ("parley", "postgres", "open-webui"))
    keys = parley["PARLEY_API_KEYS"].split(",")
    assert webui["OPENAI_API_KEYS"] in keys
    assert file["configs"]["parley-api-key"]["content"] in keys
    assert parley["PARLEY_OPENWEBUI_JWT_SECRET"] == webui["FORWARD_USER_INFO_HEADER_JWT_SECRET"]
    assert len(parley["PARLEY_OPENWEBUI_JWT_SECRET"]) >= 16
    for name in ("USER", "PASSWORD", "DB"):
        assert parley[f"POSTGRES_{name}"] == postgres[f"POSTGRES_{name}"]
    if set_by_the_user:  # then no key that everybody knows is left beside the user's
        told = " ".join(keys) if "API_KEY" in " ".join(set_by_the_user) else parley["PARLEY_OPENWEBUI_JWT_SECRET"]
        assert "dev-only" not in told


def test_compose_s_variables_are_explained_and_its_known_secrets_say_so() -> None:
    assert in_compose() - explained() == set()
    for name, default in re.findall(rf"\$\{{({NAME}):-([^${{}}]*)\}}", text("docker-compose.yml")):
        if re.search(r"KEY|SECRET|PASSWORD", name):
            assert default == "" or default.startswith("dev-only-"), (name, default)


def test_compose_wires_open_webui_by_the_names_that_it_has() -> None:
    environment = compose({})["services"]["open-webui"]["environment"]
    assert "CUSTOM_PROVIDERS" not in environment  # of a guide that is often copied; there is no such variable
    assert environment["OPENAI_API_BASE_URLS"] == "http://parley:8000/v1"
    assert environment["ENABLE_PERSISTENT_CONFIG"] == "False"  # else a key changed in .env would not count
    assert environment["ENABLE_FORWARD_USER_INFO_HEADERS"] == "True"
    assert json.loads(environment["OPENAI_API_CONFIGS"])["0"]["headers"] == {
        "X-OpenWebUI-Chat-Id": "{{CHAT_ID}}",
        "X-OpenWebUI-Message-Id": "{{MESSAGE_ID}}",
        "X-OpenWebUI-User-Message-Id": "{{USER_MESSAGE_ID}}",
        "X-OpenWebUI-User-Message-Parent-Id": "{{USER_MESSAGE_PARENT_ID}}",
        "X-OpenWebUI-Task": "{{TASK}}",
    }
    json.loads(environment["DEFAULT_MODEL_METADATA"])
    agents = {agent["agent_id"] for agent in json.loads(text("agent_config.json"))["agents"]}
    assert environment["DEFAULT_MODELS"] in agents


# ---- the gateway as the container would start it


def shipped(folder: Path) -> None:
    """The files that the Dockerfile copies to where it starts."""
    for name in ("agent_config.json", "mcp.json"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "prompts", folder / "prompts", dirs_exist_ok=True)


def container_environment(folder: Path) -> dict[str, str]:
    """As compose gives it, but for the places that only a container has."""
    environment = dict(compose({})["services"]["parley"]["environment"])
    for name in ("POSTGRES_HOST", "HOST", "PORT"):
        del environment[name]
    return {**environment, "PARLEY_DATA_DIR": str(folder / "data")}


def test_the_shipped_files_are_valid_in_the_container(tmp_path: Path) -> None:
    shipped(tmp_path)
    done = run_cli("validate", "--json", cwd=tmp_path, env=container_environment(tmp_path))
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["valid"] and not told["warnings"], told
    assert "demo" not in {one["agent_id"] for one in told["unavailable"]}, "the demo needs no key"


def test_open_webui_as_compose_wires_it_is_answered(start_gateway, tmp_path: Path) -> None:
    webui = compose({})["services"]["open-webui"]["environment"]
    gateway = start_gateway(
        json.loads(text("agent_config.json")), files={f"prompts/{one.name}": one.read_text() for one in (ROOT / "prompts").iterdir()},
        env=container_environment(tmp_path), bind=("--host", "0.0.0.0", "--port", "0"),
    )  # fmt: skip
    key = webui["OPENAI_API_KEYS"]
    templates = json.loads(webui["OPENAI_API_CONFIGS"])["0"]["headers"]
    of_turn = dict.fromkeys(templates, "") | {"X-OpenWebUI-Chat-Id": "chat-1", "X-OpenWebUI-User-Message-Id": "m-1"}
    signed = token("ada", secret=webui["FORWARD_USER_INFO_HEADER_JWT_SECRET"])
    headers = {"Host": "parley:8000", "X-OpenWebUI-User-Jwt": signed}
    assert call(gateway, "GET", "/v1/models", key="another").status == 401
    listed = call(gateway, "GET", "/v1/models", headers=headers, key=key)
    assert "demo" in {model["id"] for model in listed.json()["data"]}
    answer = call(gateway, "POST", "/v1/chat/completions", chat_body("demo", "Hello!"), {**headers, **of_turn}, key=key)
    assert answer.status == 200, answer.body
    kept = call(gateway, "GET", "/conversations/chat-1", headers=headers, key=key)
    assert kept.status == 200, "the conversation is not the user's"
    assert call(gateway, "GET", "/conversations/chat-1", key=key).status == 404, "and nobody else's"
    scraped = call(gateway, "GET", "/metrics", key=compose({})["configs"]["parley-api-key"]["content"])
    assert scraped.status == 200 and b"parley_http_requests_total" in scraped.body


# ---- the image


def test_the_health_check_can_be_run() -> None:
    assert os.access(DEPLOY / "image" / "parley-health", os.X_OK), "COPY keeps the mode"


def health(port: int, *arguments: str, **variables: str) -> int:
    environment = {"PATH": os.environ["PATH"], "PORT": str(port), **variables}
    command = ["bash", str(DEPLOY / "image" / "parley-health"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, timeout=20, check=False).returncode


def test_the_health_check_tells_a_live_gateway_from_a_dead_one(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent()), keys=("k" * 20,))
    port = gateway.address[1]
    assert health(port) == 0
    assert health(port, "/readyz") == 0
    assert health(port, "/nothing-here") == 1
    assert health(port, "/v1/models") == 1, "which wants a key"
    gateway.stop()
    assert health(port) == 1


def test_the_health_check_speaks_tls_where_the_gateway_does(start_gateway, authority) -> None:
    certificate = {"PARLEY_TLS_CERT": str(authority.valid.cert), "PARLEY_TLS_KEY": str(authority.valid.key)}
    gateway = start_gateway(config(demo_agent()), env=certificate)
    port = gateway.address[1]
    assert health(port, **certificate) == 0
    assert health(port, "/nothing-here", **certificate) == 1
    assert health(port) == 1, "without TLS"


def runtime_packages() -> set[str]:
    stage = text("Dockerfile").split("FROM debian:bookworm-slim\n")[1]
    return set(re.findall(r"^ {8}([a-z0-9.+-]+) \\$", stage, re.M))


def test_the_image_installs_what_the_binary_links() -> None:
    """Names of libraries are bookworm's, which the image is made of."""
    release = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    if "VERSION_CODENAME=bookworm" not in release or not shutil.which("dpkg-query"):
        pytest.skip("not Debian 12: its libraries have other names here")
    if SLOW:
        pytest.skip("a sanitizer build links other libraries")
    needed = subprocess.run(["objdump", "-p", str(binary())], capture_output=True, text=True, check=True).stdout
    linked = dict(re.findall(r"(\S+) => (\S+)", subprocess.run(["ldd", str(binary())], capture_output=True, text=True).stdout))
    packages = set()
    for library in re.findall(r"NEEDED +(\S+)", needed):
        if library in linked:
            real = os.path.realpath(linked[library])
            # /lib is a link to /usr/lib, and dpkg knows a file under the name that its package has
            for place in (real, real.removeprefix("/usr")):
                found = subprocess.run(["dpkg-query", "-S", place], capture_output=True, text=True, check=False)
                packages |= {line.split(":")[0] for line in found.stdout.splitlines()}
    in_the_base = {"libc6", "libgcc-s1"}
    read_as_files = {"ca-certificates", "tzdata"}
    assert packages - in_the_base == runtime_packages() - read_as_files
    assert {"libpq5", "libssl3"} <= packages


def test_the_builder_is_sent_what_the_build_reads() -> None:
    wanted = set(re.findall(r"^!(\S+)$", text(".dockerignore"), re.M))
    rooms = set(re.search(r"foreach\(room ([^)]+)\)", text("CMakeLists.txt"))[1].split())
    assert rooms == set(ROOMS)
    embedded = {one.split("/")[0] for one in re.findall(r"parley_embed\(\w+ \w+ ([^)]+)\)", text("server", "CMakeLists.txt"))[0].split()}
    assert rooms | embedded | {"cmake", "CMakeLists.txt", "CMakePresets.json", "scripts/install", "scripts/packages"} <= wanted
    for line in re.findall(r"^COPY (?!--from)(.+)$", text("Dockerfile"), re.M):
        for source in line.split()[:-1]:
            assert source == "." or (ROOT / source).exists() and any(source.startswith(one) for one in wanted), source
    assert not any((ROOT / one).name in (".env", "data", "build", ".git") for one in wanted)


# ---- systemd


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with our binary in the place of an installed one."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed (Debian's package systemd)")
    file = tmp_path / "parley.service"
    file.write_text(text("deploy", "systemd", "parley.service").replace("/usr/local/bin/parley", str(binary())))
    return file


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    # Without a system manager to talk to, in a container say, verify still reads the unit; where it looks is said here.
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("with_tool_servers", [False, True], ids=["strict", "tool-servers"])
def test_the_unit_is_valid_and_closed(unit: Path, with_tool_servers: bool) -> None:
    if with_tool_servers:
        drop_ins = unit.with_name(unit.name + ".d")
        drop_ins.mkdir()
        shutil.copy(DEPLOY / "systemd" / "tool-servers.conf", drop_ins)
    verified = analyze("verify", "--man=no", unit)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    # 0 is closed, 10 open; Debian's own services are mostly at 9. In tenths.
    graded = analyze("security", "--offline=true", "--no-pager", "--threshold=15", unit)
    assert graded.returncode == 0, graded.stdout
    if with_tool_servers:
        assert "✗ MemoryDenyWriteExecute" in graded.stdout, "the drop-in was not read"


def test_the_unit_gives_a_drain_its_time() -> None:
    body = text("deploy", "systemd", "parley.service")
    settings = dict(re.findall(r"^(\w+)=(.*)$", body, re.M))
    default = int(re.search(r"PARLEY_DRAIN_SECONDS.*?\| (\d+) \|", text("docs", "operations.md"))[1])
    assert int(settings["TimeoutStopSec"]) > default
    assert settings["KillMode"] == "mixed", "else SIGTERM ends the tool servers of streams that go on"
    assert "kill -HUP $MAINPID" in settings["ExecReload"]


# ---- Prometheus and Grafana

METRIC = re.compile(r"\bparley_[a-z_]+\b")


def golden_metrics() -> dict[str, str]:
    return dict(line.split() for line in text("tests", "golden", "metrics.txt").splitlines())


def dashboard() -> dict:
    return json.loads(text("deploy", "grafana", "dashboards", "parley.json"))


def expressions() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]


def test_the_dashboard_asks_for_metrics_that_there_are_and_as_what_they_are() -> None:
    known = golden_metrics()
    shown = set()
    for expression in expressions():
        for found in METRIC.findall(expression):
            name = found if found in known else re.sub(r"_(bucket|count|sum)$", "", found)
            assert name in known, f"{found} in {expression}"
            assert (found != name) == (known[name] == "histogram"), f"{found} is a {known[name]}"
            if known[name] == "counter":
                assert re.search(rf"(rate|increase)\({found}", expression), f"{found} is a counter: {expression}"
            shown.add(name)
    variables = json.dumps(dashboard()["templating"])
    assert set(METRIC.findall(variables)) <= set(known)
    wanted = {"http_requests_total", "http_request_seconds", "first_token_seconds", "streams_total", "upstream_requests_total",
              "tool_calls_total", "store_ready"}  # fmt: skip
    assert {f"parley_{name}" for name in wanted} <= shown


def wait_metrics(gateway: Gateway, name: str) -> str:
    """A request is counted after its last byte, which the client may know before the loop does."""
    end = time.monotonic() + 5
    while True:
        body = call(gateway, "GET", "/metrics").body.decode()
        if re.search(rf"^{name}[ {{]", body, re.M) or time.monotonic() > end:
            return body
        time.sleep(0.01)


def test_the_dashboard_groups_by_labels_that_there_are(start_gateway) -> None:
    """Prometheus answers an expression with a label that does not exist with nothing, and without an error."""
    gateway = start_gateway(config(demo_agent()))
    assert chat(gateway, "demo").status == 200
    given = {"job", "instance"}  # by Prometheus itself
    seen: dict[str, set[str]] = {}
    for line in wait_metrics(gateway, "parley_http_requests_total").splitlines():
        if found := re.match(r"(parley_\w+)(?:\{(.*?)\})? ", line):
            seen.setdefault(found[1], set()).update(re.findall(r'(\w+)="', found[2] or ""))
    # Series that begin with the first request to a provider or tool have theirs from the sources.
    seen["parley_upstream_requests_total"] = {"provider", "outcome"}
    seen["parley_upstream_first_byte_seconds_bucket"] = {"provider", "le"}
    seen["parley_fallbacks_total"] = {"agent"}
    for expression in expressions():
        for found in METRIC.findall(expression):
            labels = set(re.findall(r"(\w+)(?:=~|!=|=)\"", expression))
            for group in re.findall(r"by \(([^)]*)\)", expression):
                labels |= {label.strip() for label in group.split(",")}
            assert labels <= seen.get(found, set()) | given, f"{found} has {seen.get(found)}: {expression}"


def test_the_dashboard_s_panels_have_a_source_and_a_place() -> None:
    provisioned = yaml.safe_load(text("deploy", "grafana", "provisioning", "datasources", "prometheus.yml"))["datasources"]
    uids = {one["uid"] for one in provisioned}
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
        assert all(target["datasource"]["uid"] in uids for target in panel.get("targets", [])), panel["title"]


def test_prometheus_asks_where_compose_has_the_gateway_and_with_the_key_that_it_mounts() -> None:
    job = yaml.safe_load(text("deploy", "prometheus", "prometheus.yml"))["scrape_configs"][0]
    services = compose({})["services"]
    host, port = job["static_configs"][0]["targets"][0].split(":")
    assert services[host]["environment"]["PORT"] == port
    mounted = {Path(one["target"]) for one in services["prometheus"]["configs"]}
    # A relative name is looked up beside the configuration.
    assert Path("/etc/prometheus") / job["authorization"]["credentials_file"] in mounted
    folders = yaml.safe_load(text("deploy", "grafana", "provisioning", "dashboards", "parley.yml"))["providers"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == folders[0]["options"]["path"]


# ---- docs/deploy.md


def test_the_page_names_files_and_profiles_that_there_are() -> None:
    page = text("docs", "deploy.md")
    for path in re.findall(r"(?<![\w/.])((?:deploy|tests|prompts|docs|build)/[\w./-]*\w)", page):
        assert path.startswith("build/") or (ROOT / path).exists(), path
    profiles = {profile for service in compose({})["services"].values() for profile in service.get("profiles", [])}
    assert set(re.findall(r"--profile (\w+)", page)) == profiles


def test_the_page_installs_the_service(tmp_path: Path) -> None:
    """Its `install` commands, in a folder instead of the root of this machine."""
    section = text("docs", "deploy.md").split("## As a service")[1]
    commands = re.findall(r"^    (install .*)$", section, re.M)
    assert len(commands) >= 7, section
    for command in commands:
        words = []
        for word in command.split():
            if word == "build/parley":
                word = str(binary())
            elif word.startswith("/"):
                word = f"{tmp_path}{word}"
            if not word.startswith("--group="):  # which this machine does not have
                words.append(word)
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
    unit = dict(re.findall(r"^(\w+)=(.*)$", text("deploy", "systemd", "parley.service"), re.M))
    assert Path(f"{tmp_path}{unit['ExecStart'].split()[0]}").exists()
    assert Path(f"{tmp_path}{unit['EnvironmentFile'].removeprefix('-')}").exists()
    home = Path(f"{tmp_path}{unit['WorkingDirectory']}")
    installed = {str(file.relative_to(home)) for file in home.rglob("*") if file.is_file()}
    assert installed == {"parley.env", "agent_config.json", "mcp.json"} | {f"prompts/{one.name}" for one in (ROOT / "prompts").iterdir()}
