"""Who is measured. A contender starts one server before the mock upstream and says how to reach it.

To add one: a subclass of Contender with name(), start() and, if it needs them, headers; then a line in CONTENDERS.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

from .processes import BenchError, Process, free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL_FOLDERS = ["build/release/bin", "build/bench"]
TOOL_REMEDY = "Build it with: make bench (CMake option PARLEY_BENCH=ON)"


def find_binary(variable, name, folders, remedy):
    """The program named by the environment variable, else the first below build/."""
    named = os.environ.get(variable)
    places = [pathlib.Path(named)] if named else [ROOT / folder / name for folder in folders]
    for place in places:
        if place.is_file() and os.access(place, os.X_OK):
            return place.resolve()
    looked = named or ", ".join(f"{folder}/{name}" for folder in folders)
    raise BenchError(f"{name} not found (looked at: {looked}). {remedy}, or set {variable} to its path.")


def find_proxy(name, package):
    """A server of Debian's: the path in the variable of its name, else what is installed."""
    variable = name.upper()
    found = os.environ.get(variable) or shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if not found:
        raise BenchError(f"{name} is not installed: apt-get install {package} (or set {variable} to its path).")
    return found


class Contender:
    """One server under test. `process` is None for a contender without a server of its own."""

    name = ""
    headers = ()
    runs_tools = False  # whether it runs an agent's tools itself

    def __init__(self):
        self.process = None
        self.ready_s = None
        self.mcp_port = None  # of the echo server over HTTP, where it runs tools

    def variant(self, **settings):
        """Another server of this kind with other settings, not started; None if this kind has no such setting."""
        if not all(hasattr(type(self), name) for name in settings):
            return None
        other = type(self)()
        other.mcp_port = self.mcp_port
        vars(other).update(settings)
        return other

    def version(self):
        """What is measured, for the report. Raises BenchError if it is not installed."""
        raise NotImplementedError

    def start(self, core, upstream_port, folder):
        raise NotImplementedError

    def port(self, stream):
        """Where to send requests; a contender may have a listener apart for streams."""
        raise NotImplementedError

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None


class Direct(Contender):
    """No gateway: the load generator talks to the mock upstream. What the others are compared with."""

    name = "direct"

    def version(self):
        return "no gateway"

    def start(self, core, upstream_port, folder):
        self._port = upstream_port

    def port(self, stream):
        return self._port


class Bare(Direct):
    """A mock upstream of a scenario's own, without a gateway."""

    def __init__(self, port):
        super().__init__()
        self._port = port


class Nginx(Contender):
    """nginx as a plain reverse proxy: the yardstick."""

    name = "nginx"
    threads = 1  # settings for variant()
    streams_max = 3700

    def _binary(self):
        return find_proxy("nginx", "nginx-light")

    def version(self):
        shown = subprocess.run([self._binary(), "-v"], capture_output=True, text=True, check=True)
        return re.sub(r".*nginx/", "nginx ", shown.stderr.strip())

    def start(self, core, upstream_port, folder):
        self._unary_port = free_port()
        self._stream_port = free_port()
        config = pathlib.Path(folder) / "nginx.conf"
        config.write_text(self._config(upstream_port))
        command = [self._binary(), "-p", folder, "-c", config, "-e", "stderr"]
        self.process = Process(self.name, core, command, folder, workers=self.threads > 1)
        self.ready_s = self.process.wait_ready(self._unary_port)

    def port(self, stream):
        return self._stream_port if stream else self._unary_port

    def _config(self, upstream_port):
        # One process does all the work and is all that is measured, but for variants with more workers. Bodies stay in
        # memory: a temporary file would make nginx look worse than it is. Streams have a listener apart because buffering is a setting of the location.
        # With less than a sixteenth of them free, nginx closes clients that wait.
        connections = 2 * self.streams_max * 17 // 16 + 256
        reuse = " reuseport" if self.threads > 1 else ""
        return f"""
daemon off;
master_process {"on" if self.threads > 1 else "off"};
worker_processes {self.threads};
pid nginx.pid;
error_log stderr error;
worker_rlimit_nofile 20000;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_max_body_size 64m;
    client_body_buffer_size 11m;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream mock {{
        server 127.0.0.1:{upstream_port};
        keepalive 4096;
        keepalive_requests 100000000;
    }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {{
        listen 127.0.0.1:{self._unary_port} backlog=4096{reuse};
        location / {{ proxy_pass http://mock; }}
    }}
    server {{
        listen 127.0.0.1:{self._stream_port} backlog=4096{reuse};
        location / {{ proxy_pass http://mock; proxy_buffering off; }}
    }}
}}
"""


class Haproxy(Contender):
    """HAProxy as a plain reverse proxy: the second yardstick. One listener does for answers and streams."""

    name = "haproxy"
    threads = 1
    streams_max = 4000

    def _binary(self):
        return find_proxy("haproxy", "haproxy")

    def version(self):
        shown = subprocess.run([self._binary(), "-v"], capture_output=True, text=True, check=True)
        return re.search(r"HAProxy version ([\d.]+)", shown.stdout).expand(r"HAProxy \1")

    def start(self, core, upstream_port, folder):
        self._port = free_port()
        config = pathlib.Path(folder) / "haproxy.cfg"
        config.write_text(self._config(upstream_port))
        self.process = Process(self.name, core, [self._binary(), "-db", "-f", config], folder)
        self.ready_s = self.process.wait_ready(self._port)

    def port(self, stream):
        return self._port

    def _config(self, upstream_port):
        # http-no-delay: without it small events of a stream wait for more. No log, as nginx has none.
        return f"""
global
    nbthread {self.threads}
    maxconn {self.streams_max + 96}
defaults
    mode http
    option http-no-delay
    option abortonclose
    http-reuse always
    timeout connect 5s
    timeout client 300s
    timeout server 300s
frontend clients
    bind 127.0.0.1:{self._port} backlog 4096
    default_backend mock
backend mock
    server mock 127.0.0.1:{upstream_port} pool-max-conn -1
"""


class Parley(Contender):
    """This project, as it ships: key check, limits, metrics and logs on."""

    name = "parley"
    key = "sk-bench-0123456789abcdef0123456789abcdef"
    headers = (f"Authorization: Bearer {key}",)
    runs_tools = True
    env = {}  # more variables, by instance
    threads = 1  # settings for variant()
    streams_max = 4000
    agents = 5
    requests_max = 0  # chat requests at once; 0: no limit

    def _binary(self):
        return find_binary("PARLEY_BINARY", "parley", ["build"], "Build it with: make build")

    def version(self):
        shown = subprocess.run([self._binary(), "version"], capture_output=True, text=True, check=False)
        return (shown.stdout.strip() or "parley").splitlines()[0]

    def start(self, core, upstream_port, folder):
        self._port = free_port()
        config = pathlib.Path(folder) / "agent_config.json"
        config.write_text(json.dumps(self._config(upstream_port), indent=2))
        mcp = pathlib.Path(folder) / "mcp.json"
        mcp.write_text(json.dumps(self._mcp(), indent=2))
        data = pathlib.Path(folder) / "data"
        data.mkdir(exist_ok=True)
        command = [self._binary(), "serve", "--host", "127.0.0.1", "--port", self._port, "--threads", self.threads]
        command += ["--config", config, "--mcp", mcp, "--data", data, "--log", "json"]
        # Nothing of the caller's environment: no real key, no real database may take part.
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": folder, "PARLEY_API_KEYS": self.key, **self.env}
        if self.requests_max:
            env["MAX_CONCURRENT_REQUESTS"] = str(self.requests_max)
        self.process = Process(self.name, core, command, folder, env)
        self.ready_s = self.process.wait_ready(self._port, headers={"Authorization": f"Bearer {self.key}"})

    def port(self, stream):
        return self._port

    def _mcp(self):
        echo = str(find_binary("PARLEY_BENCH_MCP_ECHO", "parley_bench_mcp_echo", TOOL_FOLDERS, TOOL_REMEDY))
        servers = {"stdio": {"command": echo, "args": ["stdio"], "era": "legacy"}}
        if self.mcp_port:
            servers["http"] = {"type": "http", "url": f"http://127.0.0.1:{self.mcp_port}/mcp", "era": "legacy"}
        return {"mcpServers": servers}

    def _config(self, upstream_port):
        base_url = f"http://127.0.0.1:{upstream_port}/v1"
        prompt = "You are a helpful assistant. Answer in short sentences and say what you do not know."
        agent = {"provider": "mock", "model": "bench-model", "system_prompt": prompt, "allowed_regular_tools": []}
        provider = {"type": "openai", "base_url": base_url, "api_key": "bench", "max_connections": self.streams_max + 96}
        more = [{"agent_id": f"bench-{i}", "allowed_mcp_servers": {}, **agent} for i in range(5, self.agents)]
        return {
            "version": "1",
            "providers": {"mock": provider},
            "agents": [
                {"agent_id": "bench", "allowed_mcp_servers": {}, **agent},
                {"agent_id": "bench-forgets", "allowed_mcp_servers": {}, "resources": [], **agent},
                {"agent_id": "bench-server", "allowed_mcp_servers": {}, "history": "server", **agent},
                {"agent_id": "bench-stdio", "allowed_mcp_servers": {"stdio": {}}, **agent},
                {"agent_id": "bench-http", "allowed_mcp_servers": {"http": {}}, **agent},
                *more,
            ],
        }


CONTENDERS = {contender.name: contender for contender in (Direct, Nginx, Haproxy, Parley)}
YARDSTICK = Nginx.name
