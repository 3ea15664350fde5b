"""What a person does with Open WebUI, and what has to be true after each step."""

from __future__ import annotations

import struct
import time
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import trees
from stack import AGENTS, END, PASSWORD, PATIENCE_S, PEOPLE, Stack, is_task, until

LONG = "trigger-long-running-operation"
STOP_S = 0.1  # from the moment when Open WebUI closes its connection until the run has ended


@dataclass
class Case:
    """One chat of one person."""

    stack: Stack
    shots: Path
    folder: Path
    who: str = "ada"
    chat: str = ""
    stopped: list[str] = field(default_factory=list)  # answers that Parley is told of with the next question
    _turns: int = 0
    _tasks: int = 0

    def __post_init__(self) -> None:
        self.browser = self.stack.browser
        self._turns, self._tasks = len(self.stack.model.turns), len(self.stack.model.tasks)

    # ---- what is done

    def begin(self, *agents: str) -> None:
        self.browser("newChat", models=agents)
        self.chat, self.stopped = "", []

    def send(self, text: str) -> None:
        self.chat = self.browser("send", text=text)
        self.stopped = []

    def settled(self, text: str = END) -> int:
        """Waits for the end of an answer with `text` in it; in how many steps it was seen to grow."""
        grown = self.browser("watch", text=text)
        self.browser("settled")
        self.stored()
        return grown

    def say(self, text: str, expected: str = END) -> int:
        self.send(text)
        return self.settled(expected)

    def shot(self, name: str, **more) -> None:
        if self.stack.mode.name == "headers":
            self.browser("shot", file=str(self.shots / f"{name}.png"), **more)

    # ---- what is there

    def history(self) -> dict:
        return self.stack.webui.chat(self.who, self.chat)["history"]

    def current(self) -> dict:
        history = self.history()
        return history["messages"][history["currentId"]]

    def stored(self) -> None:
        """Waits until Open WebUI has written down all answers as done."""

        def done() -> bool:
            answers = [one for one in self.history()["messages"].values() if one["role"] == "assistant"]
            return all(one.get("done") for one in answers) and bool(answers)

        until(done, "Open WebUI stores the answer")

    def asked(self) -> list[dict]:
        """Bodies of this chat's turns, as Parley got them."""
        chats = self.stack.tap.chats(self.chat if self.stack.mode.headers else None)
        return [body for one in chats if not is_task(body := one.json()) and not one.headers.get("x-openwebui-task")]

    def tasks(self) -> list[dict]:
        """Bodies of the background tasks that Parley has answered, of all chats."""
        chats = [one for one in self.stack.tap.chats() if one.answer]
        return [body for one in chats if is_task(body := one.json()) or one.headers.get("x-openwebui-task")]

    def compare(self) -> str:
        """Parley's tree is Open WebUI's. Returns it."""
        mine = trees.of_open_webui({"history": self.history()}, without=tuple(self.stopped))
        if not self.stack.mode.keeps:
            status, page = self.stack.parley(self.who, f"/conversations/{self.chat}")
            assert status == 404, f"Parley keeps a conversation that nobody named: {page}"
            return mine
        theirs = ""

        def same() -> bool:
            nonlocal theirs
            status, page = self.stack.parley(self.who, f"/conversations/{self.chat}?branches=true")
            theirs = trees.of_parley(page) if status == 200 else f"{status} {page}"
            return theirs == mine

        end = time.monotonic() + 3  # what Parley acknowledged is stored; a stopped run may be on its way
        while not same() and time.monotonic() < end:
            time.sleep(0.05)
        assert theirs == mine, f"Parley has\n{theirs}\nand Open WebUI\n{mine}"
        return mine

    def compare_loosely(self, missing: int = 0) -> None:
        """For what Open WebUI does behind Parley's back: Parley may have more, and lacks `missing` messages."""
        if not self.stack.mode.keeps:
            return
        _, page = self.stack.parley(self.who, f"/conversations/{self.chat}?branches=true")
        theirs, mine = trees.of_parley(page), trees.of_open_webui({"history": self.history()})
        lacks = trees.paths(mine) - trees.paths(theirs)
        assert len(lacks) == missing, f"Parley has\n{theirs}\nand Open WebUI\n{mine}"

    def cost(self) -> tuple[int, int]:
        """How often the scripted model was asked in this case: for turns, for background tasks."""
        model = self.stack.model
        return len(model.turns) - self._turns, len(model.tasks) - self._tasks


# ---- cases


def picks_an_agent(case: Case) -> str:
    found = case.browser("openPicker")
    assert found == [f"{one['name']}\n{one['description']}" for one in AGENTS], found
    case.shot("picker")
    case.browser("pick", name="Thinker")
    assert case.say("Why are there tides?") > 3, "the answer came in one piece"
    case.compare()
    tools = case.asked()[-1].get("tools") or []
    assert (len(tools) > 20) == case.stack.mode.tools, f"{len(tools)} tools of Open WebUI's own"
    until(lambda: len(case.tasks()) >= 3, "title, follow-ups and tags")
    turns, tasks = case.cost()
    assert (turns, tasks) == (1, 0), f"the first turn cost {turns} calls of the model and {tasks} for background tasks"
    return "the first turn cost one call of the model"


def folds_reasoning(case: Case) -> None:
    case.begin("thinker")
    case.send("Why are there tides?")
    case.browser("see", text="Thinking")
    case.settled()
    case.browser("see", text="Thought for")
    assert "First the facts" not in case.browser("shown"), "the reasoning is not folded"
    case.browser("unfold", text="Thought for")
    case.browser("see", text="First the facts")
    case.shot("reasoning")
    case.shot("reasoning-phone", phone=True)
    case.compare()
    case.say("And on the other side?")
    sent = case.asked()[-1]["messages"]
    assert "First the facts" not in str(sent), "reasoning came back as history"
    case.compare()


def shows_tools(case: Case) -> None:
    case.begin("demo")
    case.send(f'/call lab__{LONG} {{"duration": 3, "steps": 3}}')
    is_shown = case.stack.mode.keeps  # only to a client that says that it is a chat of Open WebUI
    if is_shown:
        case.browser("see", text=f"Preparing lab__{LONG}")
        case.shot("tool-running")
    case.settled("Long running operation completed")
    if is_shown:
        case.browser("see", text=f"View Result from lab__{LONG}")
        case.browser("unfold", text=f"View Result from lab__{LONG}")
        case.browser("see", text="OUTPUT")
        case.shot("tool")
        case.shot("tool-phone", phone=True)
    case.compare()
    case.say('/call lab__get-sum {"a": 19, "b": 23}\n/call lab__echo {"message": "two at once"}', "Echo: two at once")
    case.compare()
    case.say("/messages", "messages came with this request")
    case.compare()
    case.browser("openChat", id=case.chat)  # after a reload it is all there
    case.browser("see", text="messages came with this request")
    if is_shown:
        case.browser("see", text=f"View Result from lab__{LONG}")
    assert "<details" not in case.browser("shown")


def cites_and_draws(case: Case) -> None:
    case.begin("demo")
    case.say("/call page__cite {}", "The moon pulls at the sea")
    if case.stack.mode.keeps:
        case.browser("see", text="2 Sources")
        until(lambda: case.browser("pictures") == 1, "the picture")
        case.shot("sources")
        case.browser("openChat", id=case.chat)
        case.browser("see", text="2 Sources")
    case.compare()


def edits_a_question(case: Case) -> None:
    case.begin("thinker")
    case.say("Why are there tides?")
    case.say("How high are they?")
    case.browser("edit", text="How high are they in Brittany?")
    case.settled()
    case.compare()
    case.browser("see", text="2/2")
    case.shot("branches")
    case.shot("branches-phone", phone=True)
    case.browser("previous", of="question")
    case.browser("see", text="1/2")
    case.say("And the old branch goes on?")
    drawn = case.compare()
    assert [line[: len(line) - len(line.lstrip())] for line in drawn.splitlines()].count("    ") == 2, drawn


def edits_the_first_question(case: Case) -> None:
    case.begin("thinker")
    case.say("Why are there tides?")
    case.browser("edit", text="Why is there wind?")
    case.settled()
    case.say("Both at once?")
    case.compare()


def regenerates(case: Case) -> None:
    case.begin("thinker")
    case.say("Why are there tides?")
    for how in ("Try Again", "Try Again", "More Concise"):
        before = case.history()["currentId"]
        case.browser("regenerate", how=how)
        until(lambda before=before: case.history()["currentId"] != before, "another answer")
        case.settled()
        if how == "Try Again":
            case.compare()
    case.browser("previous", of="answer")
    case.say("And from the second answer on?")
    # `More Concise` is said in a question that Open WebUI does not keep: its answer hangs below that one in Parley.
    case.compare_loosely(missing=1)


def stops(case: Case) -> str:
    case.begin("thinker")
    case.send("Take it slow: why are there tides?")
    case.browser("watch", text="than on the far one")
    case.shot("streaming")
    told = _stop(case)
    assert "Tides follow" in case.current()["content"]
    case.say("Go on, quickly.")
    case.compare()
    return told


def stops_a_tool(case: Case) -> str:
    case.begin("demo")
    case.send(f'/call lab__{LONG} {{"duration": 50, "steps": 50}}')
    if case.stack.mode.keeps:
        case.browser("see", text=f"Preparing lab__{LONG}")
    told = _stop(case)
    case.say("/echo still here", "still here")
    case.compare()
    return told


def _stop(case: Case) -> str:
    """Presses Stop, and measures by Parley's log when the run has ended."""
    gateway, asked = case.stack.gateway, len(case.stack.model.turns)
    seen = len(gateway.logs)
    clicked = case.browser("stop")
    run = [one for one in case.stack.tap.chats() if one.json().get("stream")][-1]
    left = until(lambda: run.left_at, "Open WebUI closes its connection")
    log = until(
        lambda: next((one for one in gateway.logs[seen:] if one.get("error") == "request_cancelled"), None),
        "the run ends",
        5,
    )
    assert log["client"] == "gone", log
    # The log's clock is the wall's, ours does not jump: both now, and the difference.
    ended = _wall(log["time"]) - time.time() + time.monotonic()
    assert ended - left < STOP_S, f"the run ended {1000 * (ended - left):.0f} ms after the client had closed"
    assert len(case.stack.model.turns) == asked, "the model was asked again"
    case.stored()
    case.stopped = [case.current()["id"]]
    case.compare()
    return f"closed {1000 * (left - clicked):.0f} ms after the click, ended {1000 * max(0, ended - left):.0f} ms later"


def _wall(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def closes_the_tab(case: Case) -> None:
    case.begin("thinker")
    case.send("A slow one, please.")
    case.browser("watch", text="Answer")
    case.browser("closeTab")
    run = case.stack.model.turns[-1]
    sent = run.body_bytes_sent
    until(lambda: run.body_bytes_sent > sent + 2000, "the answer goes on without a tab")
    case.browser("newTab", id=case.chat)
    first = len(case.browser("answers")[-1])
    until(lambda: len(case.browser("answers")[-1]) > first + 20, "the answer goes on in the new tab")
    assert run.peer_closed_at is None
    case.browser("stop")
    run.wait_closed(PATIENCE_S)
    case.stored()
    case.stopped = [case.current()["id"]]
    case.compare()
    case.say("Quickly now.")
    case.compare()


def asks_two_agents(case: Case) -> None:
    case.begin("thinker", "scribe")
    case.send("Why are there tides?")
    until(lambda: sum(END in one for one in case.browser("answers")) >= 2, "two answers")
    case.browser("settled")
    case.stored()
    case.shot("two-agents")
    case.compare()
    case.send("And on Mars?")
    until(lambda: len(case.history()["messages"]) == 6, "two more answers")
    case.stored()
    case.compare()


def attaches_a_file(case: Case) -> None:
    note = case.folder / "note.txt"
    note.write_text("The lighthouse keeper is called Ygerne.\n")
    case.begin("thinker")
    case.browser("attach", files=[str(note)])
    case.browser("see", text="note.txt")
    case.say("Who keeps the lighthouse?")
    assert "Ygerne" in str(case.stack.model.turns[-1].request.json()), "the model did not see the file"
    case.compare()
    case.say("And who else?")
    case.compare()
    case.say("Nobody?")
    case.compare()


def attaches_an_image(case: Case) -> None:
    picture = case.folder / "red.png"
    picture.write_bytes(png(48, 48, (200, 30, 30)))
    case.begin("thinker")
    case.browser("attach", files=[str(picture)])
    case.browser("type", text="What colour is it?")
    case.say("")
    for question in ("Is it dark?", "Sure?"):
        sent = case.stack.model.turns[-1].request.json()["messages"]
        assert str(sent).count("'image_url': {") == 1, sent
        case.compare()
        case.say(question)
    case.compare()


def continues_an_answer(case: Case) -> None:
    case.begin("thinker")
    case.say("Why are there tides?")
    count = len(case.stack.model.turns)
    case.browser("continueAnswer")
    until(lambda: len(case.stack.model.turns) > count, "the model is asked again")
    case.settled(f"Answer {count + 1}")
    case.say("And then?")
    case.compare_loosely()


def rewrites_an_answer(case: Case) -> None:
    case.begin("thinker")
    case.say("Why are there tides?")
    case.browser("editAnswer", text="Because of the moon, says the editor.")
    until(lambda: "editor" in case.current()["content"], "the rewritten answer is stored")
    case.say("And then?")
    assert "says the editor" in str(case.stack.model.turns[-1].request.json())
    case.compare_loosely()


def keeps_people_apart(case: Case) -> None:
    """The last one: a second person sees nothing of what the first has said."""
    mine = {one["id"] for one in case.stack.webui.call("ada", "/api/v1/chats/?page=1")}
    case.browser("login", who="bob", email=PEOPLE["bob"], password=PASSWORD, news=False)
    case.who = "bob"
    case.stack.webui.token("bob")
    assert "tides" not in case.browser("chats").lower()
    case.begin("thinker")
    case.say("Bob asks: is there anybody?")
    case.compare()
    own = case.chat
    if case.stack.mode.keeps:
        _, page = case.stack.parley("bob", "/conversations")
        assert [one["session_id"] for one in page["data"]] == [own], page
        _, page = case.stack.parley("ada", "/conversations")
        assert own not in [one["session_id"] for one in page["data"]]
        for chat in mine:
            status, _ = case.stack.parley("bob", f"/conversations/{chat}")
            assert status == 404, f"bob reads {chat}"
        status, _ = case.stack.parley("ada", f"/conversations/{own}")
        assert status == 404, "ada reads bob's"
    else:
        assert case.stack.parley("bob", "/conversations")[1]["data"] == []
    case.browser("use", who="ada")


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(colour) * width) * height
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


ALL = (
    picks_an_agent,
    folds_reasoning,
    shows_tools,
    cites_and_draws,
    edits_a_question,
    edits_the_first_question,
    regenerates,
    stops,
    stops_a_tool,
    closes_the_tab,
    asks_two_agents,
    attaches_a_file,
    attaches_an_image,
    continues_an_answer,
    rewrites_an_answer,
    keeps_people_apart,
)
# What depends on the way of identity, or on Open WebUI's own tools. `--case` and `--all` know no such limits.
BY_MODE = {
    "headers": ALL,
    "forwarder": (picks_an_agent, edits_a_question, keeps_people_apart),
    "stateless": (
        picks_an_agent,
        shows_tools,
        edits_a_question,
        regenerates,
        stops,
        attaches_a_file,
        keeps_people_apart,
    ),
    "jwt": (
        picks_an_agent,
        folds_reasoning,
        shows_tools,
        edits_a_question,
        regenerates,
        stops,
        asks_two_agents,
        attaches_a_file,
        attaches_an_image,
        keeps_people_apart,
    ),
}
