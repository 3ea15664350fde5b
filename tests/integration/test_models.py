"""GET /v1/models and /v1/models/{id}: one entry per agent."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest

from harness.api import call, chat
from harness.configs import config, demo_agent
from harness.gateway import Gateway

IDS = ["demo", "team/writer", "qwen:7b", "ann@home", "org/sub/x:1@v2.0", "a.b-c_d"]


@pytest.fixture(scope="module")
def gateway(start_module_gateway) -> Gateway:
    return start_module_gateway(config(*[demo_agent(agent_id) for agent_id in IDS]))


def check_model(entry: dict) -> None:
    assert entry["object"] == "model"
    assert isinstance(entry["created"], int) and 0 <= entry["created"] <= time.time() + 5
    assert isinstance(entry["owned_by"], str) and entry["owned_by"]


def test_list(gateway: Gateway) -> None:
    answer = call(gateway, "GET", "/v1/models")
    assert answer.status == 200 and answer.header("content-type") == "application/json"
    body = answer.json()
    assert body["object"] == "list"
    assert [entry["id"] for entry in body["data"]] == IDS
    for entry in body["data"]:
        check_model(entry)


@pytest.mark.parametrize("agent_id", IDS)
@pytest.mark.parametrize("spelling", ["raw", "quoted", "quoted-lower"])
def test_retrieve(gateway: Gateway, agent_id: str, spelling: str) -> None:
    target = {"raw": agent_id, "quoted": quote(agent_id, safe=""), "quoted-lower": quote(agent_id, safe="").lower()}[
        spelling
    ]
    answer = call(gateway, "GET", f"/v1/models/{target}")
    assert answer.status == 200, answer.body
    assert answer.json()["id"] == agent_id
    check_model(answer.json())


@pytest.mark.parametrize("agent_id", IDS)
def test_every_listed_id_answers(gateway: Gateway, agent_id: str) -> None:
    assert chat(gateway, agent_id).json()["model"] == agent_id


@pytest.mark.parametrize(
    "target",
    [
        "none",
        "Demo",
        "team",
        "team/",
        "team/writer/",
        "team%2Fwriter%2F",
        "team%252Fwriter",
        "demo%20",
        "demo?x#y",
        "%00",
        "..",
        "%2e%2e%2fdemo",
        "a" * 4000,
        "%F0%9F%98%80",
        "%ff",
    ],
)
def test_unknown(gateway: Gateway, target: str) -> None:
    if target.startswith("demo?"):
        assert call(gateway, "GET", f"/v1/models/{target.split('#')[0]}").status == 200
        return
    answer = call(gateway, "GET", f"/v1/models/{target}")
    assert answer.status == 404, answer.body
    error = answer.error
    assert error["type"] == "invalid_request_error"
    if target == "%00":  # no id at all, or one that nothing has
        assert error["code"] in ("unknown_url", "model_not_found")
    else:
        assert (error["code"], error["param"]) == ("model_not_found", "model")


def test_chat_and_retrieve_tell_the_same_of_an_unknown_model(gateway: Gateway) -> None:
    assert call(gateway, "GET", "/v1/models/none").error == chat(gateway, "none").error
