"""A chat as a tree, of Open WebUI and of Parley, drawn in one form so that they can be compared line by line."""

from __future__ import annotations

import re

# How Open WebUI tells a question with a file for that one request.
_TASK = re.compile(r"\A### Task:\n.*</context>\s*", re.S)
_ATTACHED = re.compile(r"\A<attached_files>.*?</attached_files>\s*", re.S)

Node = tuple[str, list]  # "role: text", children


def of_open_webui(chat: dict, *, without: tuple[str, ...] = ()) -> str:
    """`without`: answers (ids) that nobody has told Parley yet."""
    messages = chat["history"]["messages"]

    def below(message: dict) -> list[Node]:
        return [one for child in message["childrenIds"] if child in messages for one in nodes(messages[child])]

    def nodes(message: dict) -> list[Node]:
        """An answer stopped before its first word is not sent back: what follows it follows its question."""
        is_untold = message["id"] in without or (message["role"] == "assistant" and not message["content"].strip())
        return below(message) if is_untold else [node(message)]

    def node(message: dict) -> Node:
        pictures = sum(1 for one in message.get("files") or [] if (one.get("content_type") or "").startswith("image/"))
        return _line(message["role"], message["content"], pictures), below(message)

    return draw([one for message in messages.values() if not message.get("parentId") for one in nodes(message)])


def of_parley(page: dict) -> str:
    """Of GET /conversations/NAME?branches=true. What an answer did with tools is no message of Open WebUI's."""
    turns = page["turns"]

    def below(parent: str | None) -> list[Node]:
        return [node(turn) for turn in turns if turn["parent"] == parent]

    def node(turn: dict) -> Node:
        children = below(turn["id"])
        if turn["kind"] == "answer":
            said = [one.get("content") or "" for one in turn["messages"] if one["role"] == "assistant"]
            return _line("assistant", "\n".join(text for text in said if text)), children
        for message in reversed(turn["messages"]):
            content = message.get("content") or ""
            pictures = 0
            if isinstance(content, list):
                pictures = sum(part["type"] != "text" for part in content)
                content = "".join(part.get("text", "") for part in content)
            children = [(_line(message["role"], content, pictures), children)]
        return children[0]

    return draw(below(None))


def _line(role: str, text: str, pictures: int = 0) -> str:
    text = _ATTACHED.sub("", _TASK.sub("", text))
    return f"{role}: {' '.join(text.split())}" + pictures * " [picture]"


def paths(drawn: str) -> set[tuple[str, ...]]:
    """Of a tree that was drawn: every message, as the path to it."""
    found, path = set(), []
    for line in drawn.splitlines():
        text = line.lstrip()
        path[(len(line) - len(text)) // 2 :] = [text]
        found.add(tuple(path))
    return found


def draw(nodes: list[Node], depth: int = 0) -> str:
    """One line a message, children indented, siblings in alphabetical order: who came first is not compared."""
    lines = []
    for text, children in sorted(nodes, key=lambda node: (node[0], draw(node[1]))):
        lines += ["  " * depth + text, draw(children, depth + 1)]
    return "\n".join(line for line in lines if line)
