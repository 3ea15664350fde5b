"""Open WebUI's requests, told by a small client that sends and keeps what the real one does (harness/open_webui.py).

The real one runs in a browser in `make interop`.
"""

from __future__ import annotations

import json
import statistics
import uuid

import pytest
from harness import upstream as up
from harness.api import call, chat_body
from harness.configs import agent, config
from harness.gateway import Gateway
from harness.mcp import stdio
from harness.open_webui import FORMS, BUILT_IN, TASKS, OpenWebUi, tool
from harness.talk import Model, calls, events_of
from harness.wires import BY_NAME, DONE, chunk, sse

WIRE = BY_NAME["openai"]
IDENTITIES = {
    "ids": {"ids": True},
    "chat_id": {"ids": False},
    "nothing": {"ids": False, "chat_header": False, "identity": {}},
}


def agents() -> tuple[dict, ...]:
    return (
        agent("auto", "p", description="Answers.", tags=["general"], suggestion_prompts=["What can you do?"]),
        agent("other", "p", model="gpt-y"),
        agent("adder", "p", allowed_regular_tools=["add_two_numbers"]),
        agent("merging", "p", client_tools="merge"),
        agent("asking", "p", task_policy="agent"),
        agent("silent", "p", task_policy="empty"),
        agent("away", "openrouter", description="Answers, if it has a key."),
    )


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream) -> Gateway:
    return start_module_gateway(config(*agents(), p=WIRE.provider(module_upstream.url)))


@pytest.fixture
def model(upstream) -> Model:
    return Model(upstream)


@pytest.fixture
def ui(gateway) -> OpenWebUi:
    return OpenWebUi(gateway, {"X-OpenWebUI-User-Id": str(uuid.uuid4())})


def tree(text: str) -> str:
    lines = text.strip("\n").split("\n")
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[margin:] for line in lines).rstrip()


def adding() -> dict:
    return calls(("add_two_numbers", {"a": 2, "b": 3}))


# ---- tasks


@pytest.mark.parametrize("how", IDENTITIES.values(), ids=IDENTITIES.keys())
def test_a_first_turn_costs_one_model_call(gateway, model: Model, how) -> None:
    chat = OpenWebUi(gateway, **how).chat("auto")
    model.answers = ["The moon pulls at the sea."]
    chat.ask("how do tides work?")
    title, _ = chat.task("title_generation")
    follow_ups, _ = chat.task("follow_up_generation")
    tags, _ = chat.task("tags_generation")
    assert model.asked == 1
    assert json.loads(title) == {"title": "How do tides work"}
    assert len(json.loads(follow_ups)["follow_ups"]) == 3
    assert json.loads(tags) == {"tags": ["General"]}
    assert json.loads(chat.task("query_generation")[0]) == {"queries": ["how do tides work?"]}
    if chat.ui.chat_header:
        assert chat.stored().path() == ["user: how do tides work?", "assistant: The moon pulls at the sea."]


def test_tasks_are_answered_at_once(ui: OpenWebUi, model: Model) -> None:
    chat = ui.chat("auto")
    chat.ask("how do tides work?")
    for name in TASKS:
        took = [chat.task(name)[1] for _ in range(11)]
        assert statistics.median(took) < 20, f"{name}: {took} ms"


def test_who_answers_a_task_is_a_policy(ui: OpenWebUi, model: Model) -> None:
    model.answers = ['{"title": "of the model"}']
    assert ui.chat("asking").task("title_generation")[0] == '{"title": "of the model"}'
    assert ui.chat("silent").task("title_generation")[0] == '{"title":""}'
    assert ui.chat("silent").task("follow_up_generation")[0] == '{"follow_ups":[]}'
    assert model.asked == 1


def test_what_only_a_model_can_do_goes_to_it_without_tools(gateway, ui: OpenWebUi, model: Model) -> None:
    headers = ui.headers(chat="c", task="moa_response_generation")
    body = chat_body("adder", "You have been provided with a set of responses from various models")
    assert call(gateway, "POST", "/v1/chat/completions", body, headers).status == 200
    assert model.asked == 1
    assert "tools" not in model.upstream.requests[0].json()
    assert call(gateway, "GET", "/conversations/c", headers=ui.identity).status == 404


def test_a_task_is_known_in_the_log_and_the_metrics(gateway, ui: OpenWebUi, model: Model) -> None:
    chat = ui.chat("auto", f"c-{uuid.uuid4()}")
    chat.task("title_generation")
    assert gateway.wait_log(lambda line: line.get("task") == "title_generation")
    assert "parley_background_tasks_total" in call(gateway, "GET", "/metrics").body.decode()


# ---- places in the tree


@pytest.mark.parametrize("how", ["ids", "chat_id"])
def test_edit_regenerate_and_go_back(ui: OpenWebUi, model: Model, how: str) -> None:
    ui.ids = how == "ids"
    chat = ui.chat("auto")
    first = chat.ask("one")[0]
    second = chat.ask("two")[0]
    chat.regenerate(second.id)
    question = chat.messages[second.parent]
    chat.edit(question.id, "two, edited")
    chat.current = first.id
    chat.ask("another way")
    assert chat.stored().tree() == tree("""
        user: one
          assistant: a1
            user: two
              assistant: a2
              assistant: a3
            user: two, edited
              assistant: a4
            user: another way
              assistant: a5*
    """)
    chat.current = second.id
    chat.ask("three")
    assert model.shown() == ["user: one", "assistant: a1", "user: two", "assistant: a2", "user: three"]


def test_two_models_in_one_chat(ui: OpenWebUi, model: Model) -> None:
    chat = ui.chat("auto")
    left, right = chat.ask("one", models=("auto", "other"))
    chat.current = left.id
    chat.ask("two", models=("auto", "other"))
    assert chat.stored().tree() == tree("""
        user: one
          assistant: a1
            user: two
              assistant: a3
              assistant: a4*
          assistant: a2
    """)
    assert model.shown() == ["user: one", "assistant: a1", "user: two"], "the other sees the answer in view"
    assert right.content == "a2"


def test_continue_is_a_branch_with_the_whole_answer(ui: OpenWebUi, model: Model) -> None:
    chat = ui.chat("auto")
    model.answers = ["It begins", " and it ends."]
    given = chat.ask("tell me")[0]
    assert chat.go_on(given.id).content == "It begins and it ends."
    assert model.shown(1) == ["user: tell me", "assistant: It begins"]
    chat.ask("thanks")
    assert model.shown() == ["user: tell me", "assistant: It begins and it ends.", "user: thanks"]
    assert chat.stored().path()[1:3] == ["assistant: It begins and it ends.", "user: thanks"]


def test_a_fork_is_a_chat_of_its_own(ui: OpenWebUi, model: Model) -> None:
    chat = ui.chat("auto")
    chat.ask("one")
    fork = chat.fork()
    fork.ask("two")
    chat.ask("three")
    assert fork.stored().path() == ["user: one", "assistant: a1", "user: two", "assistant: a2"]
    assert chat.stored().path() == ["user: one", "assistant: a1", "user: three", "assistant: a3"]


def test_a_rewritten_answer_is_what_the_model_is_shown(ui: OpenWebUi, model: Model) -> None:
    chat = ui.chat("auto")
    chat.ask("one")[0].content = "What I wish it had said"
    chat.ask("two")
    assert model.shown() == ["user: one", "assistant: What I wish it had said", "user: two"]


def test_a_file_is_in_the_request_once(ui: OpenWebUi, model: Model) -> None:
    """And its turn, which begins like a task, is none."""
    chat = ui.chat("auto")
    text = ("### Task:\nRespond to the user query using the provided context\n<context>\n<source id=\"1\" name=\"note.txt\">"
            "The code is 42.</source>\n</context>\n\nWhat is the code?")  # fmt: skip
    chat.ask("What is the code?", sent_as=text)
    chat.ask("Sure?")
    assert model.shown() == [f"user: {text}", "assistant: a1", "user: Sure?"]


def test_an_image_stays_in_the_history(ui: OpenWebUi, model: Model) -> None:
    chat = ui.chat("auto")
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    chat.ask([{"type": "text", "text": "look"}, picture])
    chat.ask("and?")
    assert model.shown() == ["user: look<image_url>", "assistant: a1", "user: and?"]
    assert len(chat.stored().path()) == 4


@pytest.mark.parametrize("prefix", ["local:", "temporary:", "channel:"])
def test_chats_that_it_does_not_keep_are_not_kept(ui: OpenWebUi, model: Model, prefix: str) -> None:
    chat = ui.chat("auto", prefix + str(uuid.uuid4()))
    chat.ask("one")
    chat.ask("two")
    assert model.shown() == ["user: one", "assistant: a1", "user: two"]
    assert call(ui.gateway, "GET", "/conversations", headers=ui.identity).json()["data"] == []


def test_a_second_user_sees_nothing_of_the_first(gateway, ui: OpenWebUi, model: Model) -> None:
    chat = ui.chat("auto")
    chat.ask("my secret")
    other = OpenWebUi(gateway, {"X-OpenWebUI-User-Id": str(uuid.uuid4())})
    assert call(gateway, "GET", f"/conversations/{chat.id}", headers=other.identity).status == 404
    other.chat("auto", chat.id).ask("hello")
    assert model.shown() == ["user: hello"]
    assert chat.stored().path() == ["user: my secret", "assistant: a1"]


# ---- tools


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ids", [True, False], ids=["ids", "chat_id"])
def test_earlier_rounds_reach_the_same_path_in_every_form(ui: OpenWebUi, model: Model, form: str, ids: bool) -> None:
    ui.form, ui.ids = form, ids
    chat = ui.chat("adder")
    model.answers = [adding(), "It is 5.", adding(), "Still 5.", "Yes."]
    first = chat.ask("2+3?")[0]
    assert [(made["name"], output["output"][0]["text"]) for made, output in first.items] == [("add_two_numbers", "5")]
    chat.ask("again?")
    chat.ask("sure?")
    rounds = ["assistant: [add_two_numbers]", "tool: 5"]
    assert model.shown() == ["user: 2+3?", *rounds, "assistant: It is 5.", "user: again?", *rounds,
                             "assistant: Still 5.", "user: sure?"]  # fmt: skip
    page = chat.stored().read("?branches=true")
    parents = [turn["parent"] for turn in page["turns"]]
    assert len(parents) == 6 and len(set(parents)) == 6, "one branch"


def test_its_built_in_tools_are_not_offered(ui: OpenWebUi, model: Model) -> None:
    ui.chat("auto").ask("one")
    assert "tools" not in model.upstream.requests[0].json()
    ui.chat("adder").ask("one")
    assert [one["function"]["name"] for one in model.upstream.requests[1].json()["tools"]] == ["add_two_numbers"]
    ui.chat("merging").ask("one")
    assert len(model.upstream.requests[2].json()["tools"]) == len(BUILT_IN), "asked for on purpose"


def test_tools_that_its_user_added_are_offered(gateway, ui: OpenWebUi, model: Model) -> None:
    body = chat_body("auto", "hi", stream=True, tools=[tool("search_web"), tool("crm_lookup"), tool("fetch_url")])
    assert call(gateway, "POST", "/v1/chat/completions", body, ui.headers(chat=str(uuid.uuid4()))).status == 200
    assert [one["function"]["name"] for one in model.upstream.requests[0].json()["tools"]] == ["crm_lookup"]
    body |= {"tools": [tool("search_web")], "stream": False}
    assert call(gateway, "POST", "/v1/chat/completions", body).status == 200
    assert len(model.upstream.requests[1].json()["tools"]) == 1, "anybody else's tool of that name is their own"


# ---- display


def test_usage_is_said_once_and_reasoning_is_apart(ui: OpenWebUi, model: Model) -> None:
    model.answers = [up.pieces([sse(chunk({"role": "assistant", "reasoning_content": "hm"})), sse(chunk({"content": "yes"})),
                                sse(chunk({}, "stop")), DONE])]  # fmt: skip
    answer = ui.chat("auto").ask("?")[0]
    assert (answer.content, answer.reasoning) == ("yes", "hm")
    counted = sse({**chunk(), "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}})
    model.answers = [up.pieces([*events_of(one), counted, DONE]) for one in (adding(), "5")]
    (usage,) = ui.chat("adder").ask("2+3?")[0].usage
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (14, 4), "it adds up what it is told twice"


def test_sources_and_pictures_of_a_result_are_shown(start_gateway, tmp_path, upstream, model: Model) -> None:
    citing = agent("citing", "p", allowed_mcp_servers=None)
    gateway = start_gateway(config(citing, p=WIRE.provider(upstream.url)), mcp={"one": stdio(tmp_path / "one")})
    model.answers = [calls(("one__cite", {})), "The moon does it [1].", calls(("one__fail", {})), "It failed."]
    chat = OpenWebUi(gateway).chat("citing")
    answer = chat.ask("why?")[0]
    shown = [(one["type"], one["data"]) for one in answer.events]
    assert [kind for kind, _ in shown] == ["source", "source", "files"]
    assert [data["source"] for _, data in shown[:2]] == [{"name": "The moon", "url": "https://tides.example/moon"},
                                                         {"name": "The sun", "url": "https://tides.example/sun"}]  # fmt: skip
    assert shown[0][1]["document"] == ["It pulls."]
    assert shown[2][1]["files"][0]["url"].startswith("data:image/png;base64,iVBOR")
    assert chat.ask("again?")[0].events == [], "a call that failed has no sources"
    plain = call(gateway, "POST", "/v1/chat/completions", chat_body("citing", "why?", stream=True))
    assert b'"event"' not in plain.body, "strict clients break on such lines"


def test_events_of_a_provider_never_reach_the_page(ui: OpenWebUi, model: Model) -> None:
    script = {"type": "execute", "data": {"code": "alert(1)"}}
    bad = [
        sse({**chunk({"role": "assistant", "content": "a"}), "event": script}),
        sse({"event": script, "choices": []}),
        sse(chunk({"content": "b", "event": script})),
        sse(chunk({}, "stop")),
        DONE,
    ]
    model.answers = [up.pieces(bad)]
    answer = ui.chat("auto").ask("?")[0]
    assert (answer.content, answer.events) == ("ab", [])


def test_a_broken_answer_ends_with_an_error_that_it_shows(ui: OpenWebUi, model: Model) -> None:
    model.answers = [up.pieces([sse(chunk({"role": "assistant", "content": "half"}))])]
    answer = ui.chat("auto").ask("?")[0]
    assert answer.content == "half"
    assert answer.error and answer.error["message"]


# ---- the list


def test_models_are_listed_as_it_reads_them(ui: OpenWebUi) -> None:
    listed = {one["id"]: one for one in ui.models()}
    meta = listed["auto"]["info"]["meta"]
    assert meta["description"] == "Answers."
    assert meta["tags"] == [{"name": "general"}]
    assert [one["content"] for one in meta["suggestion_prompts"]] == ["What can you do?"]
    assert meta["capabilities"] == {"builtin_tools": False, "usage": True}
    assert listed["merging"]["info"]["meta"]["capabilities"]["builtin_tools"] is True
    assert listed["away"]["info"]["meta"]["description"].startswith("Not available: ")
    assert "OPENROUTER_API_KEY" in listed["away"]["info"]["meta"]["description"]
    assert all(one["id"] and one["name"] for one in listed.values())
