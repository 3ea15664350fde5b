"""A thousand streams at once, from a client that is one asyncio loop."""

from __future__ import annotations

import asyncio
import json
import time

from harness.api import call, chat, request_bytes
from harness.configs import config, demo_agent
from harness.gateway import SLACK, SLOW, Gateway, wait_until

STREAMS = 1000


async def _one(gateway: Gateway, raw: bytes, gate: asyncio.Event) -> bytes:
    reader, writer = await asyncio.open_connection(*gateway.address)
    try:
        await gate.wait()
        writer.write(raw)
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()


async def _all(gateway: Gateway, raw: bytes) -> list[bytes]:
    gate = asyncio.Event()
    tasks = []
    for _ in range(STREAMS):
        tasks.append(asyncio.create_task(_one(gateway, raw, gate)))
        if len(tasks) % 100 == 0:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    gate.set()
    return await asyncio.gather(*tasks)


def test_a_thousand_streams_complete(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent()))
    expected = chat(gateway, "demo", "load").json()["choices"][0]["message"]["content"]
    fds, rss = gateway.open_fds(), gateway.rss_bytes()
    body = {"model": "demo", "messages": [{"role": "user", "content": "load"}], "stream": True}
    began = time.monotonic()
    answers = asyncio.run(
        asyncio.wait_for(
            _all(gateway, request_bytes(gateway, "POST", "/v1/chat/completions", body, close=True)), 60 * SLACK
        )
    )
    took = time.monotonic() - began
    for raw in answers:
        head, _, rest = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head[:100]
        assert rest.endswith(b"0\r\n\r\n") and b"data: [DONE]\n\n" in rest
    text = "".join(json.loads(line[6:])["choices"][0]["delta"].get("content") or "" for line in _lines(answers[-1]))
    assert text == expected
    assert took < 30 * SLACK
    wait_until(lambda: gateway.open_fds() <= fds + 2, what="all sockets closed")
    assert SLOW or gateway.rss_bytes() - rss < 64 * 1024 * 1024
    assert call(gateway, "GET", "/livez").status == 200


def _lines(raw: bytes) -> list[bytes]:
    coded = raw.partition(b"\r\n\r\n")[2]
    body = b""
    while coded:
        size, _, coded = coded.partition(b"\r\n")
        length = int(size, 16)
        body, coded = body + coded[:length], coded[length + 2 :]
    return [line for line in body.split(b"\n") if line.startswith(b"data: {")]
