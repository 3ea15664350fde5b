"""Conversations that are remembered: one suite over SQLite, PostgreSQL and PgBouncer. Each test draws the tree that it
leaves (CONTRACT §5).
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import threading
import time
import uuid
from urllib.parse import quote

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat_body
from harness.configs import agent, config
from harness.fault_proxy import FaultProxy
from harness.gateway import Gateway, run_cli, wait_until
from harness.postgres import PgBouncer, Postgres, free_port
from harness.talk import Model, Talk, assistant, calls, user
from harness.wires import BY_NAME, DONE, chunk, sse
from test_sdk_node import SDK, node

WIRE = BY_NAME["openai"]
RETRY = {"X-Stainless-Retry-Count": "1"}
OPEN_WEBUI = {"X-OpenWebUI-User-Id": "u1"}
FAILS = up.json_reply({"error": {"message": "no", "type": "server_error"}}, 500)
CLIENT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module", params=["sqlite", "postgres", "pgbouncer"])
def store(request) -> dict[str, str]:
    """The environment that names it."""
    if request.param == "sqlite":
        yield {}
        return
    postgres = Postgres()
    try:
        if request.param == "postgres":
            yield {"DATABASE_URL": postgres.dsn}
            return
        bouncer = PgBouncer(postgres)
        try:
            yield {"DATABASE_URL": bouncer.dsn}
        finally:
            bouncer.close()
    finally:
        postgres.close()


def agents() -> tuple[dict, ...]:
    return (
        agent("auto", "p"),
        agent("server", "p", history="server"),
        agent("client", "p", history="client"),
        agent("adder", "p", allowed_regular_tools=["add_two_numbers"]),
        agent("other", "p", model="gpt-y"),
        agent("forgetful", "p", resources=[]),
    )


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream, store) -> Gateway:
    return start_module_gateway(config(*agents(), p=WIRE.provider(module_upstream.url)), env=store)


@pytest.fixture
def model(upstream) -> Model:
    return Model(upstream)


@pytest.fixture
def talk(gateway):
    def make(model: str = "auto", **more) -> Talk:
        return Talk(gateway, str(uuid.uuid4()), model, **more)

    return make


def tree(text: str) -> str:
    """A drawing without the indentation of the code around it."""
    lines = text.strip("\n").split("\n")
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[margin:] for line in lines).rstrip()


# ---- server history


def test_a_client_that_sends_its_last_message_only(talk, model: Model) -> None:
    chat = talk()
    for text in ("one", "two", "three"):
        chat.say(text)
    assert model.shown() == ["user: one", "assistant: a1", "user: two", "assistant: a2", "user: three"]
    assert chat.tree() == tree("""
        user: one
          assistant: a1
            user: two
              assistant: a2
                user: three
                  assistant: a3*
    """)


def test_a_system_message_leads_and_is_not_kept(talk, model: Model) -> None:
    chat = talk("server")
    chat.say([{"role": "system", "content": "Be brief."}, user("one")])
    chat.say([{"role": "system", "content": "Be long."}, user("two")])
    assert model.shown() == ["system: Be long.", "user: one", "assistant: a1", "user: two"]
    assert chat.path() == ["user: one", "assistant: a1", "user: two", "assistant: a2"]


def test_the_same_words_anew_are_a_new_turn(talk, model: Model) -> None:
    chat = talk("server")
    for _ in range(2):
        chat.say("again")
    assert model.shown() == ["user: again", "assistant: a1", "user: again"]
    assert chat.tree() == tree("""
        user: again
          assistant: a1
            user: again
              assistant: a2*
    """)


def test_a_retry_gets_the_answer_that_was_lost(talk, model: Model) -> None:
    chat = talk("server")
    assert chat.say("hello") == "a1"
    again = chat.ask("hello", RETRY)
    assert again.json()["choices"][0]["message"]["content"] == "a1"
    assert again.header("idempotent-replayed") == "true"
    assert (model.asked, chat.tree()) == (1, "user: hello\n  assistant: a1*")
    assert chat.say("hello") == "a2", "said anew, it is a new turn"
    assert len(chat.path()) == 4


def test_a_retry_may_ask_for_the_other_form(talk, model: Model, gateway: Gateway) -> None:
    chat = talk("server")
    chat.say("hello")
    body = chat_body("server", "hello", session_id=chat.session, stream=True)
    with Stream(gateway, body, RETRY) as running:
        seen = running.read().check_complete()
    assert (seen.text, seen.finish, model.asked) == ("a1", "stop", 1)


def test_an_idempotency_key_finds_its_answer(talk, model: Model, gateway: Gateway) -> None:
    chat = talk("server")
    for _ in range(2):
        assert chat.say("hello", {"Idempotency-Key": chat.session}) == "a1"
    assert (model.asked, len(chat.path())) == (1, 2)


@pytest.mark.parametrize("target", ["/conversations/{}", "/conversations", "/agents/server/conversation/{}"])
def test_an_answer_that_was_erased_is_not_told_again(talk, model: Model, gateway: Gateway, target: str) -> None:
    chat = talk("server", headers={"X-User-Id": str(uuid.uuid4())})
    once = {"Idempotency-Key": chat.session}
    chat.say("hello", once)
    assert call(gateway, "DELETE", target.format(chat.session), headers=chat.headers).status == 200
    again = chat.ask("hello", once)
    assert (again.status, again.header("idempotent-replayed")) == (200, None)
    assert again.json()["choices"][0]["message"]["content"] == "a2"
    assert (model.asked, chat.path()) == (2, ["user: hello", "assistant: a2"])


def test_a_turn_that_was_never_answered_is_taken_up_again(talk, model: Model) -> None:
    chat = talk("server")
    chat.say("one")
    model.answers = [FAILS]
    assert chat.ask("two").status == 502
    assert chat.path()[-1] == "user: two", "it is stored before the model has said anything"
    assert chat.say("two") == "a3"
    assert model.shown() == ["user: one", "assistant: a1", "user: two"]
    assert chat.tree() == tree("""
        user: one
          assistant: a1
            user: two
              assistant: a3*
    """)


def test_another_message_after_an_unanswered_one(talk, model: Model) -> None:
    chat = talk("server")
    model.answers = [FAILS]
    assert chat.ask("one").status == 502
    chat.say("two")
    assert model.shown() == ["user: one", "user: two"]


def test_two_tabs_at_once(talk, model: Model) -> None:
    """Each answer is shown behind its question, whichever came first."""
    chat = talk("server")
    chat.say("start")
    slow, fast = threading.Event(), threading.Event()

    def wait(exchange: up.Exchange) -> None:
        slow.set()
        assert fast.wait(20)
        up.json_reply({"id": "c", "object": "chat.completion", "created": 1, "model": "up", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "late"}, "finish_reason": "stop"}]})(exchange)  # fmt: skip

    model.answers = [wait, "prompt"]
    first = threading.Thread(target=chat.say, args=("x",))
    first.start()
    assert slow.wait(20)
    wait_until(lambda: chat.path()[-1] == "user: x")
    assert chat.say("y") == "prompt"
    assert model.shown() == ["user: start", "assistant: a1", "user: x", "user: y"]
    fast.set()
    first.join()
    assert chat.tree() == tree("""
        user: start
          assistant: a1
            user: x
              user: y
                assistant: prompt*
              assistant: late
    """)
    chat.say("z")
    assert model.shown() == ["user: start", "assistant: a1", "user: x", "assistant: late", "user: y",
                             "assistant: prompt", "user: z"]  # fmt: skip


def test_many_at_once_are_one_after_the_other(talk, model: Model) -> None:
    chat = talk("server")
    texts = [f"w{i}" for i in range(12)]
    threads = [threading.Thread(target=chat.say, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chat.say("end")
    shown = model.shown()
    assert sorted(one for one in shown if one.startswith("user: w")) == sorted(f"user: {text}" for text in texts)
    assert len([one for one in shown if one.startswith("assistant")]) == len(texts)


def test_nothing_new_is_an_error(talk, model: Model) -> None:
    answer = talk("server").ask([user("one"), assistant("two")])
    assert answer.status == 400
    assert answer.error["param"] == "messages"
    assert "nothing new" in answer.error["message"]


# ---- client history


def history(*texts: str) -> list[dict]:
    """User and assistant by turns."""
    return [assistant(text) if i % 2 else user(text) for i, text in enumerate(texts)]


@pytest.mark.parametrize("headers", [{}, OPEN_WEBUI], ids=["plain", "open_webui"])
def test_a_client_that_sends_everything_again(talk, model: Model, headers) -> None:
    chat = talk("auto", headers=headers)
    chat.say(history("one"))
    chat.say(history("one", "a1", "two"))
    chat.say(history("one", "a1", "two", "a2", "three"))
    assert model.shown() == ["user: one", "assistant: a1", "user: two", "assistant: a2", "user: three"]
    assert len(chat.path()) == 6
    assert len(chat.tree().splitlines()) == 6, "nothing twice"


def test_an_edit_is_a_branch(talk, model: Model) -> None:
    chat = talk("client")
    chat.say(history("one"))
    chat.say(history("one", "a1", "two"))
    chat.say(history("one", "a1", "TWO"))
    assert model.shown() == ["user: one", "assistant: a1", "user: TWO"]
    assert chat.tree() == tree("""
        user: one
          assistant: a1
            user: two
              assistant: a2
            user: TWO
              assistant: a3*
    """)


def test_a_regeneration_is_a_sibling_and_its_retry_is_not_the_old_answer(talk, model: Model) -> None:
    chat = talk("client")
    chat.say(history("one"))
    chat.say(history("one"))
    assert chat.tree() == tree("""
        user: one
          assistant: a1
          assistant: a2*
    """)
    assert chat.say(history("one"), RETRY) == "a2"
    model.answers = [FAILS]
    assert chat.ask(history("one")).status == 502  # asked anew, and lost
    assert chat.say(history("one"), RETRY) == "a4"


def test_switching_branches(talk, model: Model) -> None:
    chat = talk("client")
    chat.say(history("one"))
    chat.say(history("one"))
    chat.say(history("one", "a1", "more"))
    assert model.shown() == ["user: one", "assistant: a1", "user: more"]
    chat.say(history("one", "a2", "more"))
    assert chat.tree() == tree("""
        user: one
          assistant: a1
            user: more
              assistant: a3
          assistant: a2
            user: more
              assistant: a4*
    """)


def test_a_rewritten_answer_and_a_continued_one_are_branches(talk, model: Model) -> None:
    chat = talk("client")
    chat.say(history("one"))
    chat.say([*history("one"), assistant("What I wish it had said"), user("go on")])
    chat.say(history("one", "a1"))  # "continue": the answer is to go on
    assert model.shown() == ["user: one", "assistant: a1"]
    assert chat.tree() == tree("""
        user: one
          assistant: a1
            assistant: a3*
          assistant: What I wish it had said
            user: go on
              assistant: a2
    """)


def test_auto_finds_out_who_tells(talk, model: Model) -> None:
    """The first words again are a regeneration, until more has been said by a client that sends its last message."""
    chat = talk("auto")
    chat.say("hi")
    chat.say("hi")
    assert chat.tree() == "user: hi\n  assistant: a1\n  assistant: a2*"
    chat.say("more")
    chat.say("hi")
    assert model.shown() == ["user: hi", "assistant: a2", "user: more", "assistant: a3", "user: hi"]


def test_two_agents_in_one_chat_are_siblings(talk, model: Model) -> None:
    chat = talk("auto", headers=OPEN_WEBUI)
    chat.say(history("one"))
    chat.say(history("one"), model="other")
    assert chat.tree() == tree("""
        user: one
          assistant: a1
          assistant: a2*
    """)
    assert [turn["agent"] for turn in chat.read("?branches=true")["turns"]] == ["auto", "auto", "other"]


def open_webui(question: str, answer: str, parent: str = "") -> dict[str, str]:
    """The block of headers that Open WebUI's own agents ask for."""
    return {"X-OpenWebUI-User-Id": "u1", "X-OpenWebUI-User-Message-Id": question, "X-OpenWebUI-Message-Id": answer,
            "X-OpenWebUI-User-Message-Parent-Id": parent}  # fmt: skip


FILE_TURN = "### Task:\nRespond to the user query using the provided context\n<context>2+3=5</context>\n\nsum?"


def test_the_parents_id_finds_the_place_of_a_history_that_changed(talk, model: Model) -> None:
    """Open WebUI sends a question with a file in full once, and as the bare question from then on."""
    chat = talk("adder", headers=OPEN_WEBUI)
    model.answers = [tool_round(2, 3), "It is 5."]
    chat.say([user(FILE_TURN)], open_webui("q1", "a1"))
    chat.say(history("sum?", "It is 5.", "sure?"), open_webui("q2", "a2", "a1"))
    assert model.shown() == [f"user: {FILE_TURN}", "assistant: [add_two_numbers]", "tool: 5", "assistant: It is 5.",
                             "user: sure?"]  # fmt: skip
    chat.say(history("sum?", "It is 5.", "sure?", "a3", "really?"), open_webui("q3", "a4", "a2"))
    assert len(model.shown()) == 7
    assert len(chat.tree().splitlines()) == FILE_TURN.count("\n") + 6, "one branch"


def test_a_rewritten_answer_counts_although_its_id_is_known(talk, model: Model) -> None:
    chat = talk("adder")
    chat.say([user("one")], open_webui("q1", "a1"))
    chat.say(history("one", "What I wish it had said", "two"), open_webui("q2", "a2", "a1"))
    assert model.shown() == ["user: one", "assistant: What I wish it had said", "user: two"]


# ---- tools and thoughts


def tool_round(a: int, b: int) -> dict:
    return calls(("add_two_numbers", {"a": a, "b": b}))


def test_rounds_with_tools_are_shown_again(talk, model: Model) -> None:
    chat = talk("adder")
    model.answers = [tool_round(2, 3), "It is 5."]
    assert chat.say("2+3?") == "It is 5."
    chat.say("sure?")
    shown = ["user: 2+3?", "assistant: [add_two_numbers]", "tool: 5", "assistant: It is 5.", "user: sure?"]
    assert model.shown() == shown
    chat.say(history("2+3?", "It is 5.", "sure?"))  # a client that knows the text only
    assert model.shown() == shown


def test_a_client_that_sends_the_rounds_back_walks_the_same_path(talk, model: Model) -> None:
    chat = talk("adder")
    model.answers = [tool_round(2, 3), "It is 5."]
    chat.say("2+3?")
    made = [{"id": "x", "type": "function", "function": {"name": "add_two_numbers", "arguments": "{}"}}]
    chat.say([user("2+3?"), assistant("", tool_calls=made), {"role": "tool", "tool_call_id": "x", "content": "5"},
              assistant("It is 5."), user("sure?")])  # fmt: skip
    chat.say([user("2+3?"), assistant('<details type="tool_calls" done="true"><summary>x</summary>5</details>\n'
                                      "It is 5."), user("sure?")])  # fmt: skip
    assert len(chat.tree().splitlines()) == 5, chat.tree()  # two answers to "sure?", and nothing else twice
    assert model.shown()[1:4] == ["assistant: [add_two_numbers]", "tool: 5", "assistant: It is 5."]


@pytest.mark.parametrize("levels", [29, 50])
def test_deep_thoughts_are_kept_and_shown_again(start_gateway, store, upstream, model: Model, levels: int) -> None:
    """A provider's details go back to it as they came, and a turn with deep ones does not vanish."""
    wire = BY_NAME["openrouter"]
    details = [{"type": "reasoning.text", "text": "hm", "index": 0,
                "deep": json.loads("[" * levels + "]" * levels)}]  # fmt: skip
    asks = json.loads(json.dumps(WIRE.answer))
    called = {"id": "c1", "type": "function", "function": {"name": "add_two_numbers", "arguments": '{"a":2,"b":3}'}}
    asks["choices"] = [{"index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": None, "reasoning_details": details, "tool_calls": [called]}}]  # fmt: skip
    adder = agent("adder", "p", history="server", allowed_regular_tools=["add_two_numbers"])
    gateway = start_gateway(config(adder, p=wire.provider(upstream.url)), env=store)
    chat = Talk(gateway, str(uuid.uuid4()), "adder")
    model.answers = [up.json_reply(asks), "It is 5."]
    chat.say("2+3?")
    assert upstream.last.request.json()["messages"][1]["reasoning_details"] == details
    chat.say("sure?")
    shown = ["user: 2+3?", "assistant: [add_two_numbers]", "tool: 5", "assistant: It is 5.", "user: sure?"]
    assert model.shown() == shown
    assert chat.path()[:5] == shown


def test_tools_of_the_client_are_turns(talk, model: Model) -> None:
    chat = talk("server")
    model.answers = [calls(("weather", {"city": "Oslo"}))]
    answer = chat.ask("Oslo?", tools=[CLIENT_TOOL]).json()["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    made = answer["message"]["tool_calls"][0]["id"]
    result = {"role": "tool", "tool_call_id": made, "content": "rain"}
    assert chat.say([result], tools=[CLIENT_TOOL]) == "a2"
    assert model.shown() == ["user: Oslo?", "assistant: [weather]", "tool: rain"]
    assert chat.tree() == tree("""
        user: Oslo?
          assistant: [weather]
            tool: rain
              assistant: a2*
    """)


@pytest.mark.parametrize("history_of", ["client", "store"])
def test_rounds_before_a_tool_of_the_client_are_shown_once(talk, model: Model, history_of: str) -> None:
    chat = talk("adder")
    model.answers = [tool_round(2, 3), calls(("weather", {"city": "Oslo"}))]
    message = chat.ask("2+3 in Oslo?", tools=[CLIENT_TOOL]).json()["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "rain"}
    told = [user("2+3 in Oslo?"), message] if history_of == "client" else []
    chat.say([*told, result], tools=[CLIENT_TOOL])
    assert model.shown() == ["user: 2+3 in Oslo?", "assistant: [add_two_numbers]", "tool: 5", "assistant: [weather]",
                             "tool: rain"]  # fmt: skip
    assert len(chat.tree().splitlines()) == 4


def test_a_result_that_nobody_waits_for(talk, model: Model) -> None:
    result = {"role": "tool", "tool_call_id": "call_9", "content": "rain"}
    for name in ("server", "client", "forgetful"):
        answer = talk(name).ask([result])
        assert answer.status == 400, answer.body
        assert "tool call" in answer.error["message"]


def test_calls_that_were_not_run_are_closed(talk, model: Model) -> None:
    chat = talk("server")
    model.answers = [calls(("weather", {"city": "Oslo"}))]
    chat.ask("Oslo?", tools=[CLIENT_TOOL])
    chat.say("never mind", tools=[CLIENT_TOOL])
    assert model.shown() == ["user: Oslo?", "assistant: [weather]", "tool: (The client did not run this tool.)",
                             "user: never mind"]  # fmt: skip


def test_hidden_blocks_do_not_go_back_to_a_model(talk, model: Model) -> None:
    chat = talk("server")
    model.answers = ["<think>hm\nhm</think>\nFour."]
    assert "<think>" in chat.say("2+2?")
    chat.say("sure?")
    assert model.shown() == ["user: 2+2?", "assistant: Four.", "user: sure?"]
    told = talk("client")
    told.say([user("2+2?"), assistant("<think>hm</think>Four."), user("sure?")])
    assert model.shown() == ["user: 2+2?", "assistant: Four.", "user: sure?"]


# ---- who and what


def test_the_session_is_named_in_many_ways(gateway: Gateway, model: Model) -> None:
    def say(headers: dict[str, str], **fields) -> list[str]:
        call(gateway, "POST", "/v1/chat/completions", chat_body("server", "hi", **fields), headers)
        return model.shown()

    names = [str(uuid.uuid4()) for _ in range(5)]
    body = {"session_id": names[0], "conversation_id": names[3], "metadata": {"session_id": names[4]}}
    headers = {"X-Session-Id": names[1], "X-OpenWebUI-Chat-Id": names[2]}
    for _ in range(5):
        say(dict(headers), **body)
        first = next(iter(body), None) if "session_id" in body else next(iter(headers), None) or next(iter(body))
        found = Talk(gateway, names[5 - len(headers) - len(body)], "server")
        assert found.path()[-2:][0] == "user: hi", first
        (body if first in body else headers).pop(first)
    assert say({}) == ["user: hi"], "a request that names none stands alone"
    assert say({"X-Session-Id": ""}, user="somebody") == ["user: hi"]


@pytest.mark.parametrize("session", [5, "", "a\nb", "x" * 257])
def test_a_session_that_is_no_name(gateway: Gateway, model: Model, session) -> None:
    answer = call(gateway, "POST", "/v1/chat/completions", chat_body("auto", "hi", session_id=session))
    if session == "":
        assert answer.status == 200  # as good as absent
    else:
        assert (answer.status, answer.error["param"]) == (400, "session_id")


def test_an_agent_without_memory_keeps_nothing(talk, model: Model) -> None:
    chat = talk("forgetful")
    for text in ("one", "two"):
        chat.say(text)
    assert model.shown() == ["user: two"]
    assert call(chat.gateway, "GET", f"/conversations/{chat.session}").status == 404


def test_background_tasks_and_temporary_chats_are_not_kept(talk, model: Model) -> None:
    chat = talk("auto", headers=OPEN_WEBUI)
    chat.say("one")
    chat.say("### Task:\nA title.\n<chat_history>one</chat_history>", {"X-OpenWebUI-Task": "title_generation"})
    assert len(chat.path()) == 2
    temporary = talk("auto", headers=OPEN_WEBUI)
    temporary.session = "local:abc"
    temporary.say("one")
    assert call(chat.gateway, "GET", "/conversations/local:abc").status == 404


def test_nobody_sees_what_is_anothers(start_gateway, store, upstream, model: Model) -> None:
    gateway = start_gateway(config(*agents(), p=WIRE.provider(upstream.url)), env=store, keys=("k-one-0123456789", "k-two-0123456789"))  # fmt: skip
    session = str(uuid.uuid4())
    alice = Talk(gateway, session, "server", key="k-one-0123456789")
    bob = Talk(gateway, session, "server", key="k-two-0123456789")
    alice.say("my secret")
    bob.say("tell me")
    assert model.shown() == ["user: tell me"]
    assert bob.path() == ["user: tell me", "assistant: a2"]
    for method, target in (("DELETE", f"/conversations/{session}"), ("DELETE", "/conversations")):
        assert call(gateway, method, target, key=bob.key).status == 200
    assert alice.path() == ["user: my secret", "assistant: a1"]
    listed = call(gateway, "GET", "/conversations", key=bob.key).json()
    assert listed["data"] == []


# ---- what can be done with them


def test_list_read_fork_and_erase(start_gateway, store, upstream, model: Model) -> None:
    gateway = start_gateway(config(*agents(), p=WIRE.provider(upstream.url)), env=store)
    me = {"X-User-Id": str(uuid.uuid4())}
    talks = [Talk(gateway, f"s/{i} é", "client", headers=me) for i in range(3)]
    for one in talks:
        one.session = f"s{i}" if (i := talks.index(one)) else "a/b c"
        one.say(history("one"))
    talks[1].say(history("one", f"a{2}", "two"))
    quoted = Talk(gateway, "a%2Fb%20c", headers=me)
    assert quoted.path()[0] == "user: one"
    listed = call(gateway, "GET", "/conversations?limit=2", headers=me).json()
    assert [one["session_id"] for one in listed["data"]] == ["s1", "s2"]
    assert listed["has_more"] and listed["data"][0]["turns"] == 4
    rest = call(gateway, "GET", f"/conversations?before={listed['next_before']}", headers=me).json()
    assert [one["session_id"] for one in rest["data"]] == ["a/b c"] and not rest["has_more"]
    first = talks[1].read("?branches=true")["turns"][0]["id"]
    forked = call(gateway, "POST", "/conversations/s1/fork", {"session_id": "f", "turn_id": first}, headers=me)
    assert (forked.status, forked.json()) == (201, {"session_id": "f", "turns": 1})
    fork = Talk(gateway, "f", "client", headers=me)
    fork.say(history("one"))
    assert fork.path()[0] == "user: one"
    taken = call(gateway, "POST", "/conversations/s1/fork", {"session_id": "f"}, headers=me)
    assert (taken.status, taken.error["code"], taken.header("x-should-retry")) == (409, "conflict", "false")
    assert call(gateway, "POST", "/conversations/s1/fork", {"session_id": "g", "turn_id": "00"}, headers=me).error["param"] == "turn_id"  # fmt: skip
    assert call(gateway, "DELETE", "/conversations/s1", headers=me).json() == {"session_id": "s1", "deleted": True}
    assert call(gateway, "DELETE", "/conversations/s1", headers=me).error["code"] == "conversation_not_found"
    assert call(gateway, "DELETE", "/conversations", headers=me).json() == {"deleted": 3}
    for target in ("/conversations?limit=0", "/conversations?limit=x"):
        assert call(gateway, "GET", target, headers=me).error["param"] == "limit"
    assert call(gateway, "PUT", "/conversations/s1", {}).header("allow") == "GET, HEAD, DELETE, OPTIONS"


def test_a_fork_with_a_number_that_nobody_reads_alike(gateway: Gateway, talk, model: Model) -> None:
    chat = talk("server")
    chat.say("one")
    body = b'{"session_id":"%s","x":1e-99999999999}' % uuid.uuid4().hex.encode()
    answer = call(gateway, "POST", f"/conversations/{chat.session}/fork", body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")
    assert "invalid or too large number" in answer.error["message"]


def same_moment(gateway: Gateway, store: dict[str, str], chat: Talk, count: int) -> list[str]:
    """So many more conversations like this one, all changed at the same moment; the names of all, sorted."""
    names = [f"{chat.session}-{number}" for number in range(1, count + 1)]
    sql(gateway, store, f"""
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
        INSERT INTO conversations
        SELECT tenant, principal, session || '-' || n, id, head, resent, created_ms, updated_ms, expires_ms
        FROM conversations, numbers WHERE session = '{chat.session}'""")
    return sorted([chat.session, *names])


def test_pages_of_what_changed_at_the_same_moment(gateway: Gateway, store, talk, model: Model) -> None:
    """Nothing is left out between two pages, and nothing told twice."""
    chat = talk("server", headers={"X-User-Id": str(uuid.uuid4())})
    chat.say("one")
    names = same_moment(gateway, store, chat, 60)
    listed: list[str] = []
    target = "/conversations?limit=7"
    while target:
        page = call(gateway, "GET", target, headers=chat.headers).json()
        assert len(page["data"]) == 7 or not page["has_more"]
        assert page["has_more"] == ("next_before" in page)
        listed += [one["session_id"] for one in page["data"]]
        assert len(listed) <= len(names), "a page that was told before"
        target = page["has_more"] and f"/conversations?limit=7&before={quote(str(page['next_before']), safe='')}"
    assert sorted(listed) == names


def test_a_place_that_no_page_named(gateway: Gateway) -> None:
    for place in ("x", "5", "-", ".YQ", "5.%21", "x.YQ"):
        answer = call(gateway, "GET", f"/conversations?before={place}")
        assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_value", "before"), place


def test_the_routes_of_the_original(gateway: Gateway, talk, model: Model) -> None:
    chat = talk("server", headers={"X-User-Id": "ann"})
    chat.say("one")
    target = f"/agents/server/conversation/{chat.session}"
    page = call(gateway, "GET", f"{target}?user_id=ann").json()
    assert [message["content"] for message in page["messages"]] == ["one", "a1"]
    assert call(gateway, "GET", target).status == 404, "of nobody's"
    assert call(gateway, "GET", target.replace("server", "nobody", 1)).error["code"] == "model_not_found"
    assert call(gateway, "DELETE", f"{target}?user_id=ann").status == 200
    assert call(gateway, "GET", f"{target}?user_id=ann").status == 404


# ---- durability


def test_what_was_answered_is_there_after_a_crash(start_gateway, store, upstream, model: Model) -> None:
    gateway = start_gateway(config(*agents(), p=WIRE.provider(upstream.url)), env=store)
    chat = Talk(gateway, str(uuid.uuid4()), "server")
    chat.say("one")
    gateway.restart()
    assert chat.path() == ["user: one", "assistant: a1"]


def test_an_answer_that_never_arrived_is_given_to_the_retry(start_gateway, store, upstream, model: Model) -> None:
    """The gateway dies between the commit of the answer and the client's reading it."""
    gateway = start_gateway(config(*agents(), p=WIRE.provider(upstream.url)), env=store)
    chat = Talk(gateway, str(uuid.uuid4()), "server")
    with Stream(gateway, chat_body("server", "hello", session_id=chat.session)):
        wait_until(lambda: chat.gateway and _answered(chat), what="the answer is stored")
        gateway.restart()
    assert chat.say("hello", RETRY) == "a1"
    assert (model.asked, chat.tree()) == (1, "user: hello\n  assistant: a1*")
    assert chat.say("hello") == "a2"


def test_the_sdk_gets_the_answer_that_never_arrived(start_gateway, store, upstream, model: Model) -> None:
    """The real SDK, the real connection lost: the answer is committed, then the gateway dies before it is read."""
    gateway = start_gateway(config(*agents(), p=WIRE.provider(upstream.url)), env=store,
                            bind=("--host", "127.0.0.1", "--port", str(free_port())))  # fmt: skip
    chat = Talk(gateway, str(uuid.uuid4()), "server")
    proxy = FaultProxy(gateway.address[1])
    try:
        proxy.set("mute")
        command = [node(), str(SDK / "retry.mjs"), "hello", chat.session]
        environment = {**os.environ, "PARLEY_URL": f"http://127.0.0.1:{proxy.port}/v1"}
        asking = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: _answered(chat), timeout=20, what="the answer is stored")
        gateway.restart()
        proxy.set("pass")
        told, complaint = asking.communicate(timeout=30)
    finally:
        proxy.close()
    assert told.strip() == "a1", complaint
    assert (model.asked, chat.tree()) == (1, "user: hello\n  assistant: a1*")


def _answered(chat: Talk) -> bool:
    answer = call(chat.gateway, "GET", f"/conversations/{chat.session}")
    return answer.status == 200 and len(answer.json()["messages"]) == 2


def test_the_question_is_stored_before_the_answer_begins(gateway: Gateway, talk, model: Model) -> None:
    chat = talk("server")
    go_on = threading.Event()

    def slowly(exchange: up.Exchange) -> None:
        exchange.head(200, [("Content-Type", "text/event-stream")], framing="chunked")
        exchange.write(sse(chunk({"role": "assistant", "content": "begun"})))
        go_on.wait(20)
        exchange.write(sse(chunk({"content": " and done"})) + sse(chunk({}, "stop")) + DONE)
        exchange.end()

    model.answers = [slowly]
    with Stream(gateway, chat_body("server", "hello", session_id=chat.session, stream=True)) as running:
        for event in running:
            if not go_on.is_set():
                assert event["choices"][0]["delta"].get("role") == "assistant"
                assert chat.path() == ["user: hello"]
            go_on.set()
        assert running.seen.check_complete().text == "begun and done"
    assert chat.path() == ["user: hello", "assistant: begun and done"]


def test_a_client_that_leaves_leaves_its_question(gateway: Gateway, talk, model: Model) -> None:
    chat = talk("server")
    model.answers = [up.pieces([sse(chunk({"role": "assistant", "content": "begun"}))], then="hang")]
    with Stream(gateway, chat_body("server", "hello", session_id=chat.session, stream=True)) as running:
        next(iter(running))
    chat.say("again")
    assert chat.path()[0] == "user: hello"
    assert model.shown() == ["user: hello", "user: again"]


# ---- long conversations


@pytest.fixture
def long_talk(start_gateway, store, upstream):
    """A conversation of an agent that wants 100 tokens at most and keeps the last two messages."""
    compression = {"threshold_tokens": 100, "recent_messages_to_keep": 2}

    def make(name: str = "short", history: str = "server", **more) -> Talk:
        agents = (
            agent("short", "p", history=history, resource_config={"memory": {"compression": {**compression, **more}}}),
            agent("patient", "p", history=history, resource_config={"memory": {"compression": {"threshold_tokens": 9000}}}),
            agent("writer", "p", model="cheap"),
        )
        gateway = start_gateway(config(*agents, p=WIRE.provider(upstream.url)), env=store)
        return Talk(gateway, str(uuid.uuid4()), name)

    return make


def test_a_long_conversation_is_summarised_for_the_model_only(long_talk, model: Model) -> None:
    chat = long_talk()
    chat.say("one")
    chat.say("two")
    model.prompt_tokens = 101
    model.answers = ["a3", "THE SUMMARY"]
    chat.say("three")  # its answer is the last of the two messages that are kept
    asked = model.upstream.wait_request(4).request.json()
    assert "user: one\n\nassistant: a1\n\nuser: two\n\nassistant: a2" in asked["messages"][-1]["content"]
    assert chat.gateway.wait_log(lambda log: log.get("event") == "summarised")["tokens_before"] > 0
    model.prompt_tokens = 50
    chat.say("four")
    assert model.shown() == ["system: Summary of the conversation so far:\nTHE SUMMARY", "user: three", "assistant: a3",
                             "user: four"]  # fmt: skip
    assert chat.path()[:4] == ["user: one", "assistant: a1", "user: two", "assistant: a2"], "nothing is deleted"
    assert [one["text"] for one in chat.read("?branches=true")["summaries"]] == ["THE SUMMARY"]
    chat.say("five", model="patient")
    assert model.shown()[0] == "user: one", "one whose threshold is not passed is shown all"


def test_a_summary_goes_into_the_next_one(long_talk, model: Model) -> None:
    chat = long_talk(recent_messages_to_keep=1, summary_agent="writer")
    model.prompt_tokens = 101
    model.answers = ["a1"]
    chat.say("one")
    model.answers = ["a2", "FIRST"]
    chat.say("two")
    first = model.upstream.wait_request(3).request.json()
    assert first["model"] == "cheap"
    wait_until(lambda: "summaries" in chat.read("?branches=true"))
    model.answers = ["a3", "SECOND"]
    chat.say("three")
    text = model.upstream.wait_request(5).request.json()["messages"][-1]["content"]
    assert "Summary of what was said before:\nFIRST\n\nuser: two\n\nassistant: a2" in text
    assert "user: one" not in text


def test_a_summary_of_a_history_that_the_client_tells(long_talk, model: Model) -> None:
    chat = long_talk(history="client")
    chat.say(history("one"))
    model.prompt_tokens = 101
    model.answers = ["a2", "THE SUMMARY"]
    chat.say(history("one", "a1", "two"))
    wait_until(lambda: "summaries" in chat.read("?branches=true"))
    model.prompt_tokens = 3
    chat.say([{"role": "system", "content": "Be brief."}, *history("one", "a1", "two", "a2", "three")])
    assert model.shown() == ["system: Be brief.", "system: Summary of the conversation so far:\nTHE SUMMARY", "user: two",
                             "assistant: a2", "user: three"]  # fmt: skip
    chat.say(history("ONE", "a1", "two", "a2", "three"))
    assert model.shown()[0] == "user: ONE", "of another branch"


def test_a_summary_that_fails_is_no_matter(long_talk, model: Model) -> None:
    chat = long_talk()
    chat.say("one")
    model.prompt_tokens = 101
    model.answers = ["a2", FAILS]
    chat.say("two")
    assert chat.gateway.wait_log(lambda log: log.get("event") == "summary_failed")["reason"]
    model.prompt_tokens = 3
    chat.say("three")
    assert model.shown()[0] == "user: one"


def test_what_is_over_goes(start_gateway, store, upstream, model: Model) -> None:
    keeps = agent("brief", "p", history="server", resource_config={"memory": {"retention_hours": 1}})
    gateway = start_gateway(config(keeps, p=WIRE.provider(upstream.url)), env=store)
    chat = Talk(gateway, str(uuid.uuid4()), "brief")
    chat.say("one")
    gateway.restart()  # it looks when it starts, and then each MEMORY_CLEANUP_INTERVAL_HOURS
    assert chat.path()
    sql(gateway, store, "UPDATE conversations SET expires_ms = expires_ms - 3500000 WHERE session = '" + chat.session + "'")
    fork = Talk(gateway, str(uuid.uuid4()), "brief")
    assert call(gateway, "POST", f"/conversations/{chat.session}/fork", {"session_id": fork.session}).status == 201
    assert fork.path() == chat.path()
    both = f"session IN ('{chat.session}', '{fork.session}')"
    sql(gateway, store, f"UPDATE conversations SET expires_ms = 1 WHERE {both} AND expires_ms < {int(time.time() * 1000) + 200_000}")  # fmt: skip
    gateway.restart()
    gateway.wait_log(lambda log: log.get("event") == "conversations_expired")
    for one in (chat, fork):  # a copy is kept no longer than what it was made from
        assert call(gateway, "GET", f"/conversations/{one.session}").status == 404


def sql(gateway: Gateway, store: dict[str, str], text: str) -> None:
    """Straight into the store."""
    if "DATABASE_URL" in store:
        done = subprocess.run(["psql", "-X", "-q", "-d", store["DATABASE_URL"], "-c", text], check=False)
        assert done.returncode == 0
        return
    with sqlite3.connect(gateway.folder / "data" / "parley.db") as database:
        database.execute(text)


# ---- from the command line


def test_the_commands_that_look_at_them(start_gateway, store, upstream, model: Model) -> None:
    gateway = start_gateway(config(*agents(), p=WIRE.provider(upstream.url)), env=store)
    name = f"cli-{uuid.uuid4()}"
    chat = Talk(gateway, "s1", "client", headers={"X-User-Id": name})
    chat.say(history("one"))
    chat.say(history("ONE"))

    def parley(*words: str) -> subprocess.CompletedProcess[str]:
        return run_cli(*words, "--data", "data", cwd=gateway.folder, env=store)

    listed = parley("conversations", "list", "--user", name, "--json")
    assert [(one["session_id"], one["turns"]) for one in map(json.loads, listed.stdout.splitlines())] == [("s1", 4)]
    assert f"4 turns  user:{name}  s1" in parley("conversations", "list").stdout
    shown = parley("conversations", "show", "s1", "--user", name)
    assert "user\nONE\n" in shown.stdout and "assistant\na2\n" in shown.stdout, shown
    exported = [json.loads(line) for line in parley("conversations", "export").stdout.splitlines()]
    mine = next(one for one in exported if one["principal"] == f"user:{name}")
    assert sorted(turn["messages"][0]["content"] for turn in mine["turns"]) == ["ONE", "a1", "a2", "one"]
    assert parley("conversations", "erase", "s1").returncode == 1, "of nobody's"
    assert parley("conversations", "erase").returncode == 2
    assert parley("conversations", "erase", "s1", "--user", name).returncode == 0
    assert call(gateway, "GET", "/conversations/s1", headers=chat.headers).status == 404, "while the gateway runs"
    chat.say(history("two"))
    assert parley("conversations", "erase", "--all", "--user", name).returncode == 0
    migrated = json.loads(parley("migrate", "--json").stdout)
    assert migrated["schema_version"] == 2


def test_an_export_of_what_changed_at_the_same_moment(start_gateway, store, upstream, model: Model) -> None:
    """It is read 500 at a time."""
    gateway = start_gateway(config(*agents(), p=WIRE.provider(upstream.url)), env=store)
    name = str(uuid.uuid4())
    chat = Talk(gateway, str(uuid.uuid4()), "client", headers={"X-User-Id": name})
    chat.say(history("one"))
    names = same_moment(gateway, store, chat, 510)
    for whose in (("--user", name), ()):
        done = run_cli("conversations", "export", *whose, "--data", "data", cwd=gateway.folder, env=store)
        exported = [one for one in map(json.loads, done.stdout.splitlines()) if one["principal"] == f"user:{name}"]
        assert sorted(one["session_id"] for one in exported) == names
