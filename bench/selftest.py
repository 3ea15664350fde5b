#!/usr/bin/env python3
"""Checks that the two benchmark tools can be believed: right answers count, wrong ones are called faults.

Takes the tools from PARLEY_BENCH_MOCK and PARLEY_BENCH_LOAD, else from below build/, as bench/run does.
"""

import http.client
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from harness.bodies import chat_body  # noqa: E402
from harness.contenders import TOOL_FOLDERS, TOOL_REMEDY, find_binary  # noqa: E402
from harness.processes import Process, free_port  # noqa: E402

SENT_NS = 1  # an impossible send time: long before any machine was ready
EVENT = b'data: {"choices":[{"delta":{"content":"@T%019d@ text @T not a mark @"}}]}\n\n' % SENT_NS


class ScriptedServer:
    """Answers every request with the same bytes, in pieces of a given size; then closes if told to."""

    def __init__(self, answer, piece_bytes, closes=False):
        self._answer, self._piece_bytes, self._closes = answer, piece_bytes, closes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        client, _ = self._listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while b"\r\n\r\n" in client.recv(65536):
                for at in range(0, len(self._answer), self._piece_bytes):
                    client.sendall(self._answer[at : at + self._piece_bytes])
                if self._closes:
                    break
        except OSError:
            pass
        client.close()
        self._listener.close()


class RecordingServer:
    """Answers every request on any number of connections, and keeps the heads and who sent them."""

    def __init__(self, answer):
        self.heads, self.peers = [], []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, (host, _) = self._listener.accept()
            self.peers.append(host)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            while head := client.recv(65536):
                self.heads.append(head.decode())
                client.sendall(self._answer)


def answer(status, body, *fields):
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def chunked(body, chunk_bytes):
    pieces = (body[at : at + chunk_bytes] for at in range(0, len(body), chunk_bytes))
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


class ToolsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls._load = find_binary("PARLEY_BENCH_LOAD", "parley_bench_load", TOOL_FOLDERS, TOOL_REMEDY)
        mock = find_binary("PARLEY_BENCH_MOCK", "parley_bench_mock", TOOL_FOLDERS, TOOL_REMEDY)
        cls._folder = tempfile.TemporaryDirectory()
        cls._port = free_port()
        cls._mock = Process("mock", 0, [mock, "--port", cls._port], cls._folder.name)
        cls._mock.wait_ready(cls._port)

    @classmethod
    def tearDownClass(cls):
        alive = cls._mock.alive()
        cls._mock.stop()
        output = cls._mock.last_output()
        cls._folder.cleanup()
        assert alive, f"the mock upstream died:\n{output}"

    def command(self, *options, body=None, port=None, connections=1):
        path = pathlib.Path(self._folder.name) / "body.json"
        path.write_bytes(body or chat_body(300))
        command = [self._load, "--port", port or self._port, "--body", path, "--connections", connections, *options]
        return [str(part) for part in command]

    def load(self, *options, **target):
        command = self.command(*options, **target)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        self.assertNotEqual(done.stdout, "", done.stderr)
        result = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(done.returncode, 1 if result["errors"] else 0)
        return result

    def ask(self, body, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.request("POST", "/v1/chat/completions", body, headers or {}, encode_chunked=False)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    # --- the mock upstream

    def test_mock_answers_a_completion(self):
        answer = json.loads(self.ask(b'{"messages":[]}'))
        self.assertEqual(answer["object"], "chat.completion")
        self.assertRegex(answer["choices"][0]["message"]["content"], r"^@T\d{19}@")
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")

    def test_mock_streams_role_content_finish_usage_done(self):
        events = self.ask(chat_body(300, stream=True, directive="events=3 interval_ms=1")).decode().split("\n\n")
        self.assertEqual(events.pop(), "")
        self.assertEqual(events.pop(), "data: [DONE]")
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        self.assertEqual(chunks[0]["choices"][0]["delta"]["role"], "assistant")
        contents = [chunk["choices"][0]["delta"].get("content") for chunk in chunks[1:4]]
        self.assertTrue(all(content.startswith("@T") for content in contents), contents)
        self.assertEqual(sorted(contents), contents)
        self.assertEqual(chunks[4]["choices"][0]["finish_reason"], "stop")
        self.assertEqual((chunks[5]["choices"], chunks[5]["usage"]["total_tokens"]), ([], 150))
        self.assertEqual(len(chunks), 6)

    def test_mock_reads_a_request_cut_anywhere(self):
        body = chat_body(9000, directive="answer_bytes=22")
        framed = b"".join(b"%x;note=1\r\n%s\r\n" % (len(body[i : i + 900]), body[i : i + 900]) for i in range(0, 9000, 900))
        request = b"POST /v1/chat/completions HTTP/1.1\r\nTRANSFER-encoding: Chunked\r\n\r\n" + framed + b"0\r\nX: y\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._port), timeout=10) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(request), 7):
                client.sendall(request[at : at + 7])
            client.sendall(request)  # a second one behind it
            client.shutdown(socket.SHUT_WR)
            answers = b"".join(iter(lambda: client.recv(65536), b""))
        self.assertEqual(answers.count(b'"finish_reason":"stop"'), 2)
        self.assertEqual(answers.count(b"The gateway"), 0, "the directive was not seen")

    def test_mock_finds_stream_and_directive_at_both_ends_of_a_large_body(self):
        for filler_first in (True, False):
            filler = "x" * 50_000
            fields = {"stream": True, "note": "[[mock events=2 interval_ms=0]]"}
            body = {"filler": filler, **fields} if filler_first else {**fields, "filler": filler}
            answer = self.ask(json.dumps(body).encode())
            self.assertEqual(answer.count(b"@T"), 2)

    def test_mock_asks_for_a_tool_until_it_has_the_results(self):
        body = json.loads(chat_body(300, directive="tool=echo__echo tool_rounds=2"))
        for results, streamed in ((0, False), (1, False), (0, True), (1, True)):
            asked = {**body, "stream": streamed}
            asked["messages"] = body["messages"] + [{"role": "tool", "tool_call_id": "c", "content": "x"}] * results
            answer = self.ask(json.dumps(asked, separators=(",", ":")).encode())
            if streamed:
                self.assertTrue(answer.endswith(b"data: [DONE]\n\n"))
                answer = answer.split(b"\n\n")[1].removeprefix(b"data: ")
            choice = json.loads(answer)["choices"][0]
            (call,) = choice["delta" if streamed else "message"]["tool_calls"]
            self.assertEqual(call["function"]["name"], "echo__echo")
            self.assertEqual(json.loads(call["function"]["arguments"]), {"text": "ping"})
        body["messages"] += [{"role": "tool", "tool_call_id": "c", "content": "x"}] * 2
        answer = json.loads(self.ask(json.dumps(body, separators=(",", ":")).encode()))
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")

    # --- the echo server

    def test_mcp_echo(self):
        echo = find_binary("PARLEY_BENCH_MCP_ECHO", "parley_bench_mcp_echo", TOOL_FOLDERS, TOOL_REMEDY)
        port = free_port()
        server = Process("mcp_echo", 0, [echo, "http", "--port", port], self._folder.name)
        self.addCleanup(server.stop)
        server.wait_ready(port, path="/health")
        for options in (["time-http", "--port", port], ["time-stdio"]):
            command = [str(part) for part in (echo, *options, "--calls", 50)]
            timed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            self.assertEqual(timed["calls"], 50)
            self.assertGreater(timed["p50_us"], 0.5)
        messages = [
            {"id": "a", "method": "initialize", "params": {"id": 9}},
            {"method": "notifications/initialized"},
            {"id": 0, "method": "tools/list"},
            {"id": 2, "method": "tools/call", "params": {"name": "echo", "_meta": {"id": 7}}},
            {"id": 3, "method": "no/such"},
        ]
        lines = "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
        done = subprocess.run([str(echo), "stdio"], input=lines, capture_output=True, text=True, check=True)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([answer["id"] for answer in answers], ["a", 0, 2, 3])
        self.assertEqual(answers[2]["result"]["content"][0]["text"], "pong")
        self.assertEqual(answers[3]["error"]["code"], -32601)

    # --- the load generator against the mock

    def test_unary_and_stream_are_counted(self):
        unary = self.load("--requests", 20)
        self.assertEqual((unary["requests"], unary["errors"], unary["events"]), (20, 0, 20))
        body = chat_body(300, stream=True, directive="events=7 interval_ms=2")
        stream = self.load("--requests", 5, "--stream", "--events", 7, body=body)
        self.assertEqual((stream["requests"], stream["errors"], stream["events"]), (5, 0, 35))
        self.assertGreaterEqual(stream["latency_us"]["p50"], 12_000)
        self.assertLess(stream["first_event_us"]["p50"], stream["latency_us"]["p50"] / 2)

    def test_a_body_larger_than_the_socket_buffers_arrives(self):
        result = self.load("--requests", 3, body=chat_body(12_000_000))
        self.assertEqual((result["requests"], result["errors"]), (3, 0))

    def test_open_loop_keeps_its_rate_and_counts_waiting(self):
        result = self.load("--rate", 200, "--duration-s", 0.5, connections=8)
        self.assertEqual((result["requests"], result["errors"]), (100, 0))
        # One connection, 20 ms an answer, one request every 5 ms: the last of 40 waits for some 30 before it.
        slow = self.load("--rate", 200, "--duration-s", 0.2, body=chat_body(300, directive="delay_ms=20"))
        self.assertEqual((slow["requests"], slow["errors"]), (40, 0))
        self.assertGreater(slow["backlog_max"], 20)
        self.assertGreater(slow["latency_us"]["max"], 500_000)
        self.assertLess(slow["send_lag_us"]["p50"], 50_000)  # waiting for a connection is not the generator's lateness

    def test_open_loop_says_when_it_was_late_itself(self):
        command = self.command("--rate", 200, "--duration-s", 1, "--progress-s", 1000, connections=8)
        with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as load:
            load.stdout.readline()
            time.sleep(0.1)
            load.send_signal(signal.SIGSTOP)
            time.sleep(0.4)
            load.send_signal(signal.SIGCONT)
            result = json.loads(load.stdout.read().splitlines()[-1])
        self.assertEqual((result["requests"], result["errors"]), (200, 0))
        self.assertGreater(result["send_lag_us"]["max"], 300_000)
        self.assertGreater(result["latency_us"]["max"], 300_000)  # those requests were due in that time

    def test_a_backlog_can_be_dropped(self):
        slow = chat_body(300, directive="delay_ms=100")
        result = self.load("--rate", 100, "--duration-s", 0.5, "--drop-backlog", body=slow)
        self.assertEqual(result["errors"], 0)
        self.assertEqual(result["requests"] + result["unsent"], 50)
        self.assertGreater(result["unsent"], 30)
        self.assertEqual(result["in_time"], result["requests"] - 1)  # the last one came after the duration

    def test_delays_are_kept_in_the_window(self):
        body = chat_body(300, stream=True, directive="events=20 interval_ms=20")
        options = ["--requests", 1, "--stream", "--events", 20, "--window-from-s", 0.1, "--window-to-s", 0.2]
        result = self.load(*options, body=body)
        self.assertEqual((result["events"], result["errors"]), (20, 0))
        self.assertTrue(2 <= result["event_delay_us"]["count"] <= 6, result["event_delay_us"])

    def test_progress_lines_count_up(self):
        command = self.command("--duration-s", 0.5, "--progress-s", 0.1)
        lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        *progress, result = map(json.loads, lines)
        self.assertGreaterEqual(len(progress), 4)
        self.assertEqual(progress[0]["done"], 0)
        counts = [line["done"] for line in progress]
        self.assertEqual(counts, sorted(counts))
        self.assertLessEqual(counts[-1], result["requests"])

    # --- refusals, clients that leave, many addresses

    def test_refusals_are_counted_and_checked(self):
        error = '{"error":{"message":"later"}}'
        server = RecordingServer(answer("429 Too Many Requests", error, "Retry-After: 1"))
        result = self.load("--requests", 3, "--refusals", "503,429", port=server.port)
        self.assertEqual((result["requests"], result["refused"], result["errors"]), (0, 3, 0))
        self.assertEqual((result["statuses"], result["refused_without_time"]), ({"429": 3}, 0))
        self.assertEqual(result["refusal_us"]["count"], 3)
        self.assertGreaterEqual(result["refusal_us"]["p50"], result["refusal_sent_us"]["p50"])
        self.assertEqual(self.load("--requests", 1, port=server.port)["error_kinds"], {"status": 1})
        server = RecordingServer(answer("503 Service Unavailable", error))
        result = self.load("--requests", 3, "--refusals", "503,429", port=server.port)
        self.assertEqual((result["refused"], result["refused_without_time"], result["errors"]), (3, 3, 0))
        server = RecordingServer(answer("503 Service Unavailable", "<html>busy</html>"))
        self.assertEqual(self.load("--requests", 3, "--refusals", 503, port=server.port)["error_kinds"], {"status": 3})

    def test_a_refusal_counts_from_when_it_was_due(self):
        server = RecordingServer(answer("429 Too Many Requests", '{"error":{}}'))
        command = self.command("--rate", 100, "--duration-s", 0.5, "--refusals", 429, "--progress-s", 1000, port=server.port)
        with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as load:
            load.stdout.readline()
            load.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            load.send_signal(signal.SIGCONT)
            result = json.loads(load.stdout.read().splitlines()[-1])
        self.assertEqual((result["refused"], result["errors"]), (50, 0))
        self.assertGreater(result["refusal_us"]["max"], 200_000)
        self.assertLess(result["refusal_sent_us"]["p50"], 100_000)

    def test_each_request_has_its_number(self):
        server = RecordingServer(answer("401 Unauthorized", '{"error":{}}'))
        numbered = ["--numbered-header", "Authorization: Bearer sk-wrong-"]
        self.load("--requests", 12, "--refusals", 401, *numbered, port=server.port, connections=3)
        keys = {line for head in server.heads for line in head.split("\r\n") if line.startswith("Authorization")}
        self.assertEqual(keys, {f"Authorization: Bearer sk-wrong-{number:012}" for number in range(12)})

    def test_many_source_addresses(self):
        server = RecordingServer(answer("429 Too Many Requests", '{"error":{}}'))
        self.load("--requests", 10, "--refusals", 429, "--sources", 4, port=server.port, connections=10)
        self.assertEqual({peer: server.peers.count(peer) for peer in server.peers},
                         {"127.0.0.2": 3, "127.0.0.3": 3, "127.0.0.4": 2, "127.0.0.5": 2})  # fmt: skip

    def test_clients_leave_in_the_middle(self):
        body = chat_body(300, stream=True, directive="events=500 interval_ms=5")
        options = ["--requests", 40, "--stream", "--events", 500, "--leave-after-events", 3]
        result = self.load(*options, body=body, connections=4)
        self.assertEqual((result["aborted"], result["requests"], result["errors"]), (40, 0, 0))
        self.assertGreaterEqual(result["connections_opened"], 40)
        self.assertLess(result["elapsed_s"], 2)  # ten streams of 10 ms, one after the other; a whole one takes 2.5 s

    def test_clients_leave_before_the_first_event(self):
        options = ["--requests", 40, "--stream", "--leave-after-ms", 20]
        late = chat_body(300, stream=True, directive="delay_ms=3000")
        result = self.load(*options, body=late, connections=20)
        self.assertEqual((result["aborted"], result["requests"], result["errors"]), (40, 0, 0))
        self.assertGreaterEqual(result["elapsed_s"], 0.04)
        early = chat_body(300, stream=True, directive="events=50 interval_ms=10")
        self.assertEqual(self.load(*options, body=early, connections=20)["error_kinds"], {"marks": 40})

    def test_stalled_readers_are_left_and_cost_the_mock_little(self):
        before = self._mock.rss_mb()
        body = chat_body(300, stream=True, directive="events=20000 event_bytes=1000 interval_ms=0")
        options = ["--stall", "--stream", "--duration-s", 0.5]
        result = self.load(*options, body=body, connections=20)
        self.assertEqual((result["aborted"], result["requests"], result["errors"]), (20, 0, 0))
        self.assertLess(self._mock.rss_mb() - before, 40)  # of 20 streams of 20 MB each
        result = self.load(*options, "--path", "/nowhere", body=body, connections=2)
        self.assertEqual(result["error_kinds"], {"status": 2})

    def test_a_slow_reader_gets_all_of_a_large_stream(self):
        body = chat_body(300, stream=True, directive="events=20000 event_bytes=1000 interval_ms=0")
        result = self.load("--requests", 2, "--stream", "--events", 20000, body=body, connections=2)
        self.assertEqual((result["events"], result["errors"]), (40_000, 0))

    def test_two_mocks_share_a_port(self):
        mock = find_binary("PARLEY_BENCH_MOCK", "parley_bench_mock", TOOL_FOLDERS, TOOL_REMEDY)
        port = free_port()
        both = [Process(f"shared{i}", 0, [mock, "--port", port, "--share-port"], self._folder.name) for i in range(2)]
        for process in both:
            self.addCleanup(process.stop)
            process.wait_ready(port)
        result = self.load("--duration-s", 0.5, port=port, connections=32)
        self.assertEqual(result["errors"], 0)
        self.assertTrue(all(process.alive() and process.cpu_ns() > 50e6 for process in both))

    # --- wrong answers

    def test_wrong_answers_are_faults(self):
        stream = chat_body(300, stream=True, directive="events=7 interval_ms=0")
        self.assertEqual(self.load("--requests", 2, "--stream", "--events", 8, body=stream)["error_kinds"], {"marks": 2})
        self.assertEqual(self.load("--requests", 2, "--stream", "--events", 1)["error_kinds"], {"no_done": 2})
        self.assertEqual(self.load("--requests", 2, "--path", "/nowhere")["error_kinds"], {"status": 2})
        late = chat_body(300, directive="delay_ms=2000")
        self.assertEqual(self.load("--requests", 1, "--drain-s", 0.1, "--duration-s", 0.1, body=late)["errors"], 1)

    def test_marks_are_found_across_every_cut(self):
        body = EVENT * 5 + b"data: [DONE]\n\n"
        for chunk_bytes, piece_bytes in ((1, 4000), (5, 3), (23, 1), (len(EVENT), 11), (10_000, 10_000)):
            server = ScriptedServer(chunked(body, chunk_bytes), piece_bytes)
            result = self.load("--requests", 1, "--stream", "--events", 5, port=server.port)
            self.assertEqual((result["errors"], result["events"]), (0, 5), (chunk_bytes, piece_bytes, result))
            self.assertGreater(result["event_delay_us"]["p50"], 1e6)

    def test_truncation_is_a_fault(self):
        whole = chunked(EVENT * 5 + b"data: [DONE]\n\n", 40)
        for missing in (1, 5, 30, 200):
            server = ScriptedServer(whole[:-missing], 10_000, closes=True)
            result = self.load(
                "--requests", 1, "--duration-s", 0.2, "--drain-s", 0.5, "--stream", "--events", 5, port=server.port
            )
            self.assertEqual((result["requests"], result["error_kinds"].get("closed")), (0, 1), missing)
            self.assertEqual(result["events_lost"], 2 if missing == 200 else 0, missing)


if __name__ == "__main__":
    unittest.main()
