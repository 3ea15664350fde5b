"""Request bodies: chat histories as real clients send them, of an exact size, the same in every run."""

import json
import random

# A directive: 600 bytes of text in one piece. One event if the gateway chooses to stream from its upstream: the same
# answer in one piece either way.
SHORT_ANSWER = "events=1 event_bytes=800 answer_bytes=600"
_WORDS = (
    "the model answers with a list of steps that we can follow when the server is restarted after an update and the "
    "queue still holds old work so please check whether every worker has read its new configuration before it takes a "
    "request because otherwise users will see errors for some minutes which nobody wants to explain again"
).split()
# What makes real histories costlier to scan than plain words: escapes, code, markup, other scripts.
_SPICES = (
    'He said: "use the new key", and so we did.',
    "```python\nfor item in queue:\n    print(item[\"id\"], item['size'])\n```",
    "| name | size |\n|---|---|\n| a.txt | 12 |\n",
    "Größe und Übergabe prüfen, dann weiter.",
    "结果是正确的，请继续。",
    "C:\\temp\\logs\\today.txt\tok",
)


def _text(dice, size):
    parts = []
    length = 0
    while length < size:
        part = dice.choice(_SPICES) if dice.random() < 0.08 else " ".join(dice.choices(_WORDS, k=12)) + "."
        parts.append(part)
        length += len(part) + 1
    return " ".join(parts)


def _encode(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def chat_body(size_bytes, stream=False, directive="", model="bench"):
    """A chat completion request of `size_bytes` (exactly, if that is enough for its frame), as UTF-8 bytes.

    `directive` tells the mock upstream how to answer; it goes into the last message, which every gateway passes on.
    """
    dice = random.Random(size_bytes)
    last = {"role": "user", "content": "And now?" + (f" [[mock {directive}]]" if directive else "")}
    body = {"model": model, "messages": [last]}
    if stream:
        body.update(stream=True, stream_options={"include_usage": True})

    history = []
    missing = size_bytes - len(_encode(body))
    while missing > 2000:
        turn = [
            {"role": "user", "content": _text(dice, dice.randint(40, 400))},
            {"role": "assistant", "content": _text(dice, dice.randint(200, 1200))},
        ]
        history += turn
        missing -= len(_encode(turn)) - 1  # its two brackets become one comma
    body["messages"] = [*history, last]
    if missing > 0:
        filler = " ".join(dice.choices(_WORDS, k=missing // 2))
        last["content"] = filler[: missing - 1] + " " + last["content"]
    return _encode(body)
