"""What the machine has to give: start and memory with many agents, and what a second core brings."""

import contextlib
import statistics
import time

from ..bodies import SHORT_ANSWER, chat_body
from ..contenders import Bare
from .base import Row, Scenario


class StartWithAgents(Scenario):
    """Fresh processes with many agents in their configuration, each measured before its first chat."""

    starts = 3

    def __init__(self, agents):
        self.name = f"start_{agents}"
        self._agents = agents
        self.rows = (
            Row("start_ms", f"start to ready, {agents} agents", "ms"),
            Row("idle_mb", f"resident, idle, {agents} agents", "MB"),
            Row("heap_mb", "  of it heap", "MB"),
        )

    def run(self, lab, contender, direct):
        if not contender.process:
            return {}
        start_ms, idle_mb, heap_mb = [], [], []
        for _ in range(self.starts):
            with lab.fresh(contender, agents=self._agents) as server:
                if server is None:
                    return {}
                start_ms.append(server.ready_s * 1000)
                lab.settle()
                idle_mb.append(server.process.rss_mb())
                heap_mb.append(server.process.heap_mb())
        return {"start_ms": statistics.median(start_ms), "idle_mb": max(idle_mb), "heap_mb": max(heap_mb)}


class TwoCores(Scenario):
    """Small requests, gateway with one thread and with two, where gateway, mock and load have two cores in all.

    Two figures, since no core is left over for the load. First, all of it on one core, then all of it twice, on two: a
    gateway's thread, a mock upstream and a load generator on each. Crossing from core to core costs something by itself;
    what mocks and generators reach without a gateway (direct) shows how much. Second, the gateway's CPU per request
    with one thread and with two, both times beside mocks and generators on both cores: twice the one over the other is
    what the second thread would bring if the load were elsewhere, provided that both cores are in use to the full, so
    that no thread waited for the other.
    """

    rounds_max = 2
    connections = 32

    def __init__(self):
        self.name = "two_cores"
        self.rows = (
            Row("rps_1", "requests per second, gateway and load on one core", "1/s", 0),
            Row("rps_2", "  the same on two, gateway with two threads", "1/s", 0),
            Row("scale", "  two cores against one", "x", 2, ratio=False),
            Row("gateway_scale", "  the gateway alone, by its CPU per request", "x", 2, ratio=False),
            Row("cpu_1_us", "  CPU per request, one thread", "us"),
            Row("cpu_2_us", "  CPU per request, two threads", "us"),
            Row("busy_percent", "  of both cores in use", "%", 0, ratio=False),
        )

    def run(self, lab, contender, direct):
        cores = [lab.gateway_core, lab.load_core]
        one = self._saturate(lab, contender, cores[:1], cores[:1])
        two = self._saturate(lab, contender, cores, cores)
        if not one or not two:
            return {}
        figures = {
            "rps_1": one["rps"],
            "rps_2": two["rps"],
            "scale": two["rps"] / one["rps"],
            "busy_percent": 100 * two["busy"],
        }
        if contender.process:
            single = self._saturate(lab, contender, cores[:1], cores)
            figures["gateway_scale"] = 2 * single["cpu_us"] / two["cpu_us"]
            figures.update(cpu_1_us=single["cpu_us"], cpu_2_us=two["cpu_us"])
        return figures

    def _saturate(self, lab, contender, gateway_cores, cores):
        body = lab.body_file(self.name, chat_body(300, directive=SHORT_ANSWER))
        seconds = lab.seconds(2.5)
        options = {"connections": self.connections, "duration_s": seconds, "progress_s": 1000}
        with contextlib.ExitStack() as stack:
            mocks, ports = stack.enter_context(lab.mocks(cores, shared=True))
            core = ",".join(map(str, gateway_cores))
            if contender.process:
                server = stack.enter_context(lab.fresh(contender, ports[0], core, threads=len(gateway_cores)))
            else:
                server = Bare(ports[0])
            if server is None:
                return None
            warm = [lab.start_load(server, body, core=core, connections=self.connections, duration_s=0.4) for core in cores]
            for load in warm:
                lab.finish_load(load, server, self.name)
            loads = [lab.start_load(server, body, core=core, **options) for core in cores]
            for load in loads:
                lab.wait_begun(load)
            time.sleep(0.1 * seconds)
            idle = [lab.idle_ns(core) for core in cores]
            used = lab.watch([server], loads, 0.8 * seconds, mocks, apart=False)
            idle_ns = sum(lab.idle_ns(core) for core in cores) - sum(idle)
            results = [lab.finish_load(load, server, self.name) for load in loads]
        rps = sum(result["rps"] for result in results)
        return {
            "rps": rps,
            "cpu_us": used["cpu_us"] / (rps * used["wall_s"]),
            "busy": 1 - idle_ns / 1e9 / used["wall_s"] / len(cores),
        }
