"""A tool that takes 90 s, under the idle limit of 60 s that ships: with progress it answers, without it is cancelled.

The same in small is in tests/integration/test_mcp_calls.py. Prints one line a case, `... ok` or `... FAIL`.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from harness import reference_servers as reference  # noqa: E402
from harness.gateway import Gateway  # noqa: E402
from harness.mcp import http, records, result, stdio, wait_record, with_tools  # noqa: E402
from harness.mcp_http import HttpServer  # noqa: E402

SECONDS = 90
OPTIONS = {"timeout": SECONDS + 30.0}


def main() -> int:
    root = Path(tempfile.mkdtemp(prefix="parley-long-call-"))
    web = HttpServer(root / "web")
    mcp = {
        "one": stdio(root / "one"),
        "silent": stdio(root / "silent"),
        "web": http(web),
        "real": reference.entry("everything", "stdio"),
    }
    gateway = Gateway(root / "gateway", with_tools(), mcp=mcp).start()
    failures: list[str] = []

    def survives(label: str, tool: str, arguments: dict, expected: str) -> None:
        told = result(gateway, f"{label}__{tool}", arguments, **OPTIONS)
        assert expected in told, told

    def is_cancelled() -> None:
        began = time.monotonic()
        told = result(gateway, "silent__hang", **OPTIONS)
        took = time.monotonic() - began
        assert 58 < took < 75, f"{took:.1f} s: {told}"
        call = records(root / "silent", "message", method="tools/call")[0]
        cancelled = wait_record(root / "silent", "message", method="notifications/cancelled")
        assert cancelled["params"]["requestId"] == call["id"]

    slow = {"seconds": SECONDS, "every": 5}
    cases = {
        "90 s with progress over stdio": lambda: survives("one", "slow", slow, f"took {SECONDS} s"),
        "90 s with progress over HTTP": lambda: survives("web", "slow", slow, f"took {SECONDS} s"),
        "90 s with progress, server-everything": lambda: survives(
            "real", "trigger-long-running-operation", {"duration": SECONDS, "steps": 45}, "completed"
        ),
        "60 s without a sign: cancelled on the server": is_cancelled,
    }

    def run(name: str, case) -> None:
        try:
            case()
            print(f"{name} ... ok", flush=True)
        except BaseException as error:  # an assertion or a lost connection: both are the case's failure
            failures.append(name)
            print(f"{name} ... FAIL\n  {error}", flush=True)

    threads = [threading.Thread(target=run, args=case) for case in cases.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gateway.stop()
    web.stop()
    return 1 if failures else 0


sys.exit(main())
