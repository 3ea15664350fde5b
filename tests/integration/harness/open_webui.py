"""Open WebUI 0.12.4 as the gateway sees it: its headers, its tasks, its built-in tools, and the history that it keeps and
sends back. Small on purpose; the real one runs in `make interop`.
"""

from __future__ import annotations

import html
import json
import time
import uuid
from dataclasses import dataclass, field

from .api import call, request_bytes, connect
from .gateway import Gateway
from .talk import Talk

FORMS = ("native", "markup", "text")  # how it sends tool rounds back: as calls, as <details>, not at all

# Names of some of its 36 tools (0.12.4), with parameters as small as they get.
BUILT_IN = ("get_current_timestamp", "calculate_timestamp", "ask_user", "search_memories", "add_memory", "search_notes",
            "view_note", "write_note", "replace_note_content", "search_chats", "view_chat", "search_channels",
            "search_channel_messages", "view_channel_message", "list_knowledge_bases", "search_knowledge_bases",
            "query_knowledge_files", "view_knowledge_file", "view_skill", "create_tasks", "update_task", "search_web",
            "fetch_url", "generate_image", "execute_code", "create_automation", "search_calendar_events")  # fmt: skip

TASKS = {
    "title_generation": '{ "title": "your concise title here" }',
    "tags_generation": '{ "tags": ["tag1", "tag2", "tag3"] }',
    "follow_up_generation": '{ "follow_ups": ["Suggested next message 1", "Suggested next message 2"] }',
    "query_generation": '{ "queries": ["query1", "query2"] }',
}


def tool(name: str) -> dict:
    parameters = {"type": "object", "properties": {}, "required": []}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


@dataclass
class Message:
    id: str
    parent: str | None
    role: str
    content: object
    model: str = ""
    items: list = field(default_factory=list)  # (call, output) of native items
    events: list = field(default_factory=list)
    reasoning: str = ""
    usage: list = field(default_factory=list)
    error: dict | None = None


@dataclass
class OpenWebUi:
    """One user's browser, connected to the gateway."""

    gateway: Gateway
    identity: dict[str, str] = field(default_factory=lambda: {"X-OpenWebUI-User-Id": "ada"})
    ids: bool = True  # the connection's header block names messages, too
    chat_header: bool = True
    built_in: bool = True
    form: str = "native"
    key: str | None = ""

    def headers(self, **values: str) -> dict[str, str]:
        """What it does not know it sends empty."""
        made = dict(self.identity)
        if self.chat_header:
            made["X-OpenWebUI-Chat-Id"] = values.get("chat", "")
        if self.ids:
            made |= {"X-OpenWebUI-Message-Id": values.get("message", ""), "X-OpenWebUI-User-Message-Id": values.get("question", ""),
                     "X-OpenWebUI-User-Message-Parent-Id": values.get("parent", ""),
                     "X-OpenWebUI-Task": values.get("task", "")}  # fmt: skip
        return made

    def models(self) -> list[dict]:
        answer = call(self.gateway, "GET", "/v1/models", headers=self.headers(), key=self.key)
        assert answer.status == 200, answer.body
        return answer.json()["data"]

    def chat(self, model: str, chat_id: str = "") -> Chat:
        return Chat(self, model, chat_id or str(uuid.uuid4()))


@dataclass
class Chat:
    ui: OpenWebUi
    model: str
    id: str
    messages: dict[str, Message] = field(default_factory=dict)
    current: str | None = None

    # ---- what its user does

    def ask(self, content: object, *, models: tuple[str, ...] = (), sent_as: object = None) -> list[Message]:
        """Sends a message below the current one, to each model. `sent_as`: what goes out in its place, once."""
        question = self._add("user", content, self.current)
        return [self._answer(question, model, sent_as=sent_as) for model in models or (self.model,)]

    def edit(self, question: str, content: object) -> Message:
        asked = self.messages[question]
        self.current = asked.parent
        return self.ask(content)[0]

    def regenerate(self, answer: str) -> Message:
        given = self.messages[answer]
        return self._answer(self.messages[given.parent], given.model)

    def go_on(self, answer: str) -> Message:
        """Continue Response: the history ends with the answer, and what comes is added to it under the same id."""
        given = self.messages[answer]
        more = self._answer(self.messages[given.parent], given.model, continued=given)
        given.content += more.content
        del self.messages[more.id]
        self.current = given.id
        return given

    def fork(self) -> Chat:
        return Chat(self.ui, self.model, str(uuid.uuid4()), dict(self.messages), self.current)

    def task(self, name: str) -> tuple[str, float]:
        """The answer to a background task, and how long it took in milliseconds."""
        quoted = "\n".join(f"{one.role.upper()}: {one.content}" for one in self.path() if isinstance(one.content, str))
        prompt = (f"### Task:\nGenerate something.\n### Output:\nJSON format: {TASKS[name]}\n### Chat History:\n"
                  f"<chat_history>\n{quoted}\n</chat_history>")  # fmt: skip
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "stream": False, "max_tokens": 1000}
        asked = next((one for one in reversed(self.path()) if one.role == "user"), None)
        headers = self.ui.headers(chat=self.id, question=asked.id if asked else "", task=name)
        with connect(self.ui.gateway) as connection:
            raw = request_bytes(self.ui.gateway, "POST", "/v1/chat/completions", body, headers, key=self.ui.key)
            started = time.monotonic()
            connection.send(raw)
            answer = connection.read_answer("POST")
            took = (time.monotonic() - started) * 1000
        assert answer.status == 200, answer.body
        return answer.json()["choices"][0]["message"]["content"], took

    # ---- what is on the screen, and in the store

    def path(self) -> list[Message]:
        found, at = [], self.current
        while at is not None:
            found.append(self.messages[at])
            at = self.messages[at].parent
        return found[::-1]

    def stored(self) -> Talk:
        return Talk(self.ui.gateway, self.id, self.model, headers=self.ui.headers(chat=self.id), key=self.ui.key)

    # ---- how it speaks

    def _add(self, role: str, content: object, parent: str | None, **more: object) -> Message:
        message = Message(str(uuid.uuid4()), parent, role, content, **more)
        self.messages[message.id] = message
        self.current = message.id
        return message

    def _history(self, end: Message, sent_as: object) -> list[dict]:
        self.current, kept = end.id, self.current
        sent: list[dict] = []
        for one in self.path():
            if one.role == "user":
                sent.append({"role": "user", "content": sent_as if one is end and sent_as is not None else one.content})
            else:
                sent += self._resent(one)
        self.current = kept
        return sent

    def _resent(self, answer: Message) -> list[dict]:
        text = {"role": "assistant", "content": answer.content}
        if self.ui.form == "native":
            rounds = []
            for made, output in answer.items:
                called = {"id": made["call_id"], "type": "function",
                          "function": {"name": made["name"], "arguments": made["arguments"]}}  # fmt: skip
                told = "".join(part["text"] for part in output["output"])
                rounds += [{"role": "assistant", "content": "", "tool_calls": [called]},
                           {"role": "tool", "tool_call_id": made["call_id"], "content": told}]  # fmt: skip
            return [*rounds, text] if answer.content or not rounds else rounds
        if self.ui.form == "markup":
            blocks = "".join(
                f'<details type="tool_calls" done="true" id="{made["call_id"]}" name="{made["name"]}" '
                f'arguments="{html.escape(json.dumps(made["arguments"]))}">\n<summary>Tool Executed</summary>\n'
                f"{html.escape(json.dumps(''.join(part['text'] for part in output['output'])))}\n</details>\n"
                for made, output in answer.items
            )
            return [{"role": "assistant", "content": blocks + answer.content}]
        return [text] if answer.content else []

    def _answer(self, question: Message, model: str, *, sent_as: object = None, continued: Message | None = None) -> Message:
        sent = self._history(continued or question, sent_as)
        answer = self._add("assistant", "", question.id, model=model)
        body: dict = {"stream": True, "model": model, "messages": sent, "stream_options": {"include_usage": True}}
        if self.ui.built_in:
            body["tools"] = [tool(name) for name in BUILT_IN]
        named = continued.id if continued else answer.id
        headers = self.ui.headers(chat=self.id, message=named, question=question.id, parent=question.parent or "")
        got = call(self.ui.gateway, "POST", "/v1/chat/completions", body, headers, key=self.ui.key)
        assert got.status == 200, got.body
        read_stream(got.body, answer)
        return answer


def read_stream(body: bytes, answer: Message) -> None:
    """Takes a stream as its middleware does: text, reasoning, native items by id, events, usage, an error."""
    calls: dict[str, dict] = {}
    outputs: dict[str, dict] = {}
    for line in body.decode().split("\n"):
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        data = json.loads(line[6:])
        if data.get("type", "").startswith("response."):
            assert data["type"] == "response.output_item.added" and data["output_index"] > 1000, data
            item = data["item"]
            (calls if item["type"] == "function_call" else outputs)[item["call_id"]] = item
        elif "event" in data:
            answer.events.append(data["event"])
        elif "choices" not in data:
            answer.error = data["error"]
        for choice in data.get("choices", []):
            delta = choice.get("delta", {})
            answer.content += delta.get("content") or ""
            answer.reasoning += delta.get("reasoning_content") or ""
            assert "tool_calls" not in delta, "it would run the tool itself"
        if data.get("usage"):
            answer.usage.append(data["usage"])
    assert calls.keys() == outputs.keys(), "it would run a call without an output by itself"
    assert all(made["status"] == "completed" for made in calls.values())
    answer.items = [(made, outputs[name]) for name, made in calls.items()]
