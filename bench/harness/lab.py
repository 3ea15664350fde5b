"""The bench: one mock upstream, the load generator, and the measuring of one contender under one load."""

import contextlib
import json
import pathlib
import subprocess
import tempfile
import time

from .contenders import TOOL_FOLDERS, TOOL_REMEDY, find_binary
from .processes import BenchError, CoreMeter, Process, cpu_ns_of, free_port, pinned


_BOTH_CORES = ("gateway_core", "load_core")


class Lab:
    """Owns the mock upstream. The gateway has `gateway_core` to itself; mock and load share `load_core`."""

    def __init__(self, folder, gateway_core, load_core, time_scale):
        self.folder = pathlib.Path(folder)
        self.gateway_core = gateway_core
        self.load_core = load_core
        self.time_scale = time_scale  # < 1 shortens every measurement (--quick)
        self.round = 0
        self.faults = []
        # CPU time that neither gateway, mock nor load used, as a share of wall time, one per measurement of a gateway.
        self.foreign_shares = {"gateway": [], "load": []}
        self._loads = []
        self._load_binary = find_binary("PARLEY_BENCH_LOAD", "parley_bench_load", TOOL_FOLDERS, TOOL_REMEDY)
        self._mock_binary = find_binary("PARLEY_BENCH_MOCK", "parley_bench_mock", TOOL_FOLDERS, TOOL_REMEDY)
        self._gateway_meter, self._load_meter = CoreMeter(gateway_core), CoreMeter(load_core)
        self.upstream_port = free_port()
        self.mock = self._start_mock("mock", load_core, self.upstream_port)
        self._echo_binary = find_binary("PARLEY_BENCH_MCP_ECHO", "parley_bench_mcp_echo", TOOL_FOLDERS, TOOL_REMEDY)
        self.mcp_port = free_port()
        self.echo = Process("mcp_echo", load_core, [self._echo_binary, "http", "--port", self.mcp_port], folder)
        self.echo.wait_ready(self.mcp_port, path="/health")

    def _start_mock(self, name, core, port, *options):
        mock = Process(name, core, [self._mock_binary, "--port", port, *options], self.folder)
        mock.wait_ready(port)
        return mock

    @contextlib.contextmanager
    def mocks(self, cores, shared=False):
        """One more mock upstream on each of `cores`: their ports, or with `shared` the one port of all of them."""
        ports = [free_port()] * len(cores) if shared else [free_port() for _ in cores]
        with contextlib.ExitStack() as stack:
            running = []
            for i, (core, port) in enumerate(zip(cores, ports)):
                options = ["--share-port"] if shared else []
                running.append(self._start_mock(f"mock{i}", core, port, *options))
                stack.callback(running[-1].stop)
            yield running, ports

    @contextlib.contextmanager
    def fresh(self, contender, upstream_port=None, core=None, **settings):
        """Another server of the contender's kind, for as long as it is needed; None if it has no such settings."""
        other = contender.variant(**settings)
        if other is None:
            yield None
            return
        folder = tempfile.mkdtemp(prefix=f"{contender.name}-", dir=self.folder)
        try:
            other.start(
                self.gateway_core if core is None else core, upstream_port or self.upstream_port, folder
            )
            yield other
        finally:
            other.stop()

    @staticmethod
    def settle():
        """Until a server has done what it does just after its start; then what it holds is what it needs."""
        time.sleep(1.5)

    def time_tool_calls(self, transport):
        """Microseconds (p50) of one call from a client of its own, without a gateway."""
        options = ["--core", self.gateway_core] if transport == "stdio" else ["--port", self.mcp_port]
        command = [self._echo_binary, f"time-{transport}", *options]
        done = subprocess.run(pinned(self.load_core, command), capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise BenchError(f"direct tool calls over {transport}: {done.stderr.strip()}")
        return json.loads(done.stdout)["p50_us"]

    def close(self):
        for load in self._loads:
            if load.poll() is None:
                load.kill()
                load.wait()
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
        for header in contender.headers if options.pop("with-key", True) else ():
            command += ["--header", header]
        core = options.pop("core", self.load_core)
        for name, value in options.items():
            command += [f"--{name}"] if value is True else [f"--{name}", value]
        return pinned(core, command)

    def start_load(self, contender, body, **options):
        """The load generator as a running process; finish_load() waits for its result.

        Options are those of the program; besides, `core` to run on, and `with_key=False` to leave out the contender's key.
        """
        options = {key.replace("_", "-"): value for key, value in options.items()}
        command = self._load_command(contender, body, options)
        # Unbuffered, so that a line of progress can be read while the rest is left to finish_load().
        load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self._loads = [other for other in self._loads if other.poll() is None] + [load]
        return load

    @staticmethod
    def wait_begun(load):
        """Until all connections are open and the first request is due; for a load with `progress_s`."""
        load.stdout.readline()

    def finish_load(self, load, contender, what, read=b""):
        """The load's result, once it has ended. `read` is what the caller has read of its output."""
        output, complaints = load.communicate(timeout=120)
        lines = (read + output).decode().splitlines()
        if not lines or '"requests"' not in lines[-1]:
            detail = contender.process.last_output() if contender.process else ""
            raise BenchError(f"{what}, {contender.name}: the load generator gave up: {complaints.decode().strip()}\n{detail}")
        result = json.loads(lines[-1])
        answered = result["requests"] + result["refused"] + result["aborted"]
        if result["errors"] > 0:
            self.faults.append(
                f"{what}, {contender.name}: {result['errors']} of {result['errors'] + answered} requests "
                f"failed ({json.dumps(result['error_kinds'])}): {result['first_error']}"
            )
        if contender.process and not contender.process.alive():
            raise contender.process.ended()
        if answered == 0:
            raise BenchError(f"{what}, {contender.name}: no request succeeded: {result['first_error']}")
        return result

    def measure(self, contender, what, body, **options):
        """Runs one load to its end. Adds the CPU used meanwhile, per whole run: cpu_us (gateway), mock_cpu_us."""
        before = self._readings([contender], [self.mock])
        result = self.finish_load(self.start_load(contender, body, **options), contender, what)
        used = {name: now - before[name] for name, now in self._readings([contender], [self.mock]).items()}
        if contender.process:
            self._note_foreign(used, result["generator_cpu_s"] * 1e9)
        result["cpu_us"] = used["gateway"] / 1000
        result["core_share"] = used["gateway"] / used["wall"]
        result["mock_cpu_us"] = used["mocks"] / 1000
        return result

    def watch(self, servers, loads, seconds, mocks=None, apart=True):
        """CPU of the servers in the next `seconds`, under loads that are already running.

        `apart`: servers on the gateway's core, all else on the other; if not, anything may run on both.
        """
        mocks = mocks or [self.mock]
        readings = []
        for pause in (seconds, 0):
            load_ns = sum(cpu_ns_of(load.pid) for load in loads)
            readings.append({**self._readings(servers, mocks), "loads": load_ns})
            time.sleep(pause)
        used = {name: readings[1][name] - readings[0][name] for name in readings[0]}
        if not apart:
            busy, ours = (sum(used[name] for name in names) for names in (_BOTH_CORES, ("gateway", "mocks", "loads")))
            for shares in self.foreign_shares.values():
                shares.append(max(0.0, (busy - ours) / 2 / used["wall"]))
        elif any(server.process for server in servers):
            self._note_foreign(used, used["loads"])
        return {"cpu_us": used["gateway"] / 1000, "core_share": used["gateway"] / used["wall"], "wall_s": used["wall"] / 1e9}

    @staticmethod
    def idle_ns(core):
        return CoreMeter(core).idle_ns()

    def _note_foreign(self, used, load_ns):
        self.foreign_shares["gateway"].append(max(0.0, (used["gateway_core"] - used["gateway"]) / used["wall"]))
        self.foreign_shares["load"].append(max(0.0, (used["load_core"] - used["mocks"] - load_ns) / used["wall"]))

    def _readings(self, servers, mocks):
        """In ns: CPU of gateways and mocks, busy time of both cores, the clock."""
        return {
            "gateway": sum(server.process.cpu_ns() for server in servers if server.process),
            "gateway_core": self._gateway_meter.busy_ns(),
            "load_core": self._load_meter.busy_ns(),
            "mocks": sum(mock.cpu_ns() for mock in mocks),
            "wall": time.monotonic_ns(),
        }
