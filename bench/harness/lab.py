"""The bench: one mock upstream, the load generator, and the measuring of one contender under one load."""

import json
import pathlib
import subprocess
import time

from .contenders import TOOL_FOLDERS, TOOL_REMEDY, find_binary
from .processes import BenchError, CoreMeter, Process, free_port, pinned


class Lab:
    """Owns the mock upstream. The gateway has `gateway_core` to itself; mock and load share `load_core`."""

    def __init__(self, folder, gateway_core, load_core, time_scale):
        self.folder = pathlib.Path(folder)
        self.gateway_core = gateway_core
        self.load_core = load_core
        self.time_scale = time_scale  # < 1 shortens every measurement (--quick)
        self.faults = []
        # CPU time that neither gateway, mock nor load used, as a share of wall time, one per measurement of a gateway.
        self.foreign_shares = {"gateway": [], "load": []}
        self._load = None
        self._load_binary = find_binary("PARLEY_BENCH_LOAD", "parley_bench_load", TOOL_FOLDERS, TOOL_REMEDY)
        mock_binary = find_binary("PARLEY_BENCH_MOCK", "parley_bench_mock", TOOL_FOLDERS, TOOL_REMEDY)
        self._gateway_meter, self._load_meter = CoreMeter(gateway_core), CoreMeter(load_core)
        self.upstream_port = free_port()
        self.mock = Process("mock", load_core, [mock_binary, "--port", self.upstream_port], folder)
        self.mock.wait_ready(self.upstream_port)
        self._echo_binary = find_binary("PARLEY_BENCH_MCP_ECHO", "parley_bench_mcp_echo", TOOL_FOLDERS, TOOL_REMEDY)
        self.mcp_port = free_port()
        self.echo = Process("mcp_echo", load_core, [self._echo_binary, "http", "--port", self.mcp_port], folder)
        self.echo.wait_ready(self.mcp_port, path="/health")

    def time_tool_calls(self, transport):
        """Microseconds (p50) of one call from a client of its own, without a gateway."""
        options = ["--core", self.gateway_core] if transport == "stdio" else ["--port", self.mcp_port]
        command = [self._echo_binary, f"time-{transport}", *options]
        done = subprocess.run(pinned(self.load_core, command), capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise BenchError(f"direct tool calls over {transport}: {done.stderr.strip()}")
        return json.loads(done.stdout)["p50_us"]

    def close(self):
        if self._load and self._load.poll() is None:
            self._load.kill()
            self._load.wait()
        self.mock.stop()
        self.echo.stop()

    def body_file(self, name, content):
        path = self.folder / f"{name}.json"
        path.write_bytes(content)
        return path

    def seconds(self, full):
        return full * self.time_scale

    def _load_command(self, contender, body, options):
        stream = options.get("stream", False)
        command = [self._load_binary, "--port", contender.port(stream), "--body", body]
        for header in contender.headers:
            command += ["--header", header]
        for name, value in options.items():
            command += [f"--{name}"] if value is True else [f"--{name}", value]
        return pinned(self.load_core, command)

    def start_load(self, contender, body, **options):
        """The load generator as a running process; finish_load() waits for its result."""
        options = {key.replace("_", "-"): value for key, value in options.items()}
        command = self._load_command(contender, body, options)
        self._load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return self._load

    def finish_load(self, load, contender, what):
        output, complaints = load.communicate(timeout=120)
        if not output.strip():
            detail = contender.process.last_output() if contender.process else ""
            raise BenchError(f"{what}, {contender.name}: the load generator gave up: {complaints.strip()}\n{detail}")
        result = json.loads(output)
        if result["errors"] > 0:
            self.faults.append(
                f"{what}, {contender.name}: {result['errors']} of {result['errors'] + result['requests']} requests "
                f"failed ({json.dumps(result['error_kinds'])}): {result['first_error']}"
            )
        if contender.process and not contender.process.alive():
            raise contender.process.ended()
        if result["requests"] == 0:
            raise BenchError(f"{what}, {contender.name}: no request succeeded: {result['first_error']}")
        return result

    def measure(self, contender, what, body, **options):
        """Runs one load to its end. Adds the CPU used meanwhile, per whole run: cpu_us (gateway), mock_cpu_us."""
        before = self._readings(contender)
        result = self.finish_load(self.start_load(contender, body, **options), contender, what)
        gateway, mock, gateway_core, load_core, wall = (
            now - then for now, then in zip(self._readings(contender), before)
        )
        if contender.process:
            of_load = mock + result["generator_cpu_s"] * 1e9
            self.foreign_shares["gateway"].append(max(0.0, (gateway_core - gateway) / wall))
            self.foreign_shares["load"].append(max(0.0, (load_core - of_load) / wall))
        result["cpu_us"] = gateway / 1000
        result["core_share"] = gateway / wall
        result["mock_cpu_us"] = mock / 1000
        return result

    def _readings(self, contender):
        """In ns: CPU of gateway and mock, busy time of both cores, the clock."""
        gateway = contender.process.cpu_ns() if contender.process else 0
        busy = self._gateway_meter.busy_ns(), self._load_meter.busy_ns()
        return gateway, self.mock.cpu_ns(), *busy, time.monotonic_ns()
