"""The official OpenAI SDK for Python; run by tests/interop/run, which names the gateway in PARLEY_URL and
PARLEY_KEY.
"""

import asyncio
import os
import unittest

import openai

URL, KEY = os.environ["PARLEY_URL"], os.environ["PARLEY_KEY"]
MESSAGES = [{"role": "user", "content": "hello from Python"}]
TEXT = 'Hé "😀"\nend'
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


class OpenAiPython(unittest.TestCase):
    def setUp(self) -> None:
        self.client = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0, timeout=20)
        self.addCleanup(self.client.close)

    def test_models(self) -> None:
        ids = [model.id for model in self.client.models.list()]
        self.assertIn("team/writer:1@v2", ids)
        for name in ids:
            self.assertEqual(self.client.models.retrieve(name).id, name)

    def test_create(self) -> None:
        answer = self.client.chat.completions.create(model="demo", messages=MESSAGES)
        self.assertIn("hello from Python", answer.choices[0].message.content)
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
        self.assertTrue(answer._request_id)

    def test_stream(self) -> None:
        for include in (None, False, True):
            with self.subTest(include_usage=include):
                options = {} if include is None else {"stream_options": {"include_usage": include}}
                chunks = list(
                    self.client.chat.completions.create(model="relay", messages=MESSAGES, stream=True, **options)
                )
                self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), TEXT)
                self.assertEqual(len({chunk.id for chunk in chunks}), 1)
                self.assertEqual(sum(chunk.usage is not None for chunk in chunks), 1 if include else 0)

    def test_stream_helper(self) -> None:
        with self.client.chat.completions.stream(model="relay", messages=MESSAGES) as stream:
            deltas = [event.delta for event in stream if event.type == "content.delta"]
            final = stream.get_final_completion()
        self.assertEqual("".join(deltas), TEXT)
        self.assertEqual(final.choices[0].message.content, TEXT)

    def test_stream_helper_with_a_tool_call(self) -> None:
        tools = [
            {
                **ADD,
                "function": {
                    **ADD["function"],
                    "strict": True,
                    "parameters": {
                        "type": "object",
                        "properties": {"a": {"type": "number"}},
                        "required": ["a"],
                        "additionalProperties": False,
                    },
                },
            }
        ]
        with self.client.chat.completions.stream(
            model="demo", messages=[{"role": "user", "content": '/call add {"a": 1}'}], tools=tools
        ) as stream:
            for _ in stream:
                pass
            choice = stream.get_final_completion().choices[0]
        self.assertEqual(choice.finish_reason, "tool_calls")
        self.assertEqual(choice.message.tool_calls[0].function.parsed_arguments, {"a": 1})

    def test_leaving_a_stream(self) -> None:
        with self.client.chat.completions.create(model="slow", messages=MESSAGES, stream=True) as stream:
            for chunk in stream:
                if chunk.choices[0].delta.content:
                    break

    def test_timeout(self) -> None:
        with self.assertRaises(openai.APITimeoutError):
            self.client.with_options(timeout=0.3).chat.completions.create(model="slow", messages=MESSAGES)

    def test_errors(self) -> None:
        cases = {
            openai.BadRequestError: lambda: self.client.chat.completions.create(
                model="demo", messages=MESSAGES, temperature="hot"
            ),
            openai.AuthenticationError: lambda: self.client.with_options(api_key="wrong").models.list(),
            openai.NotFoundError: lambda: self.client.chat.completions.create(model="none", messages=MESSAGES),
            openai.RateLimitError: lambda: self.client.chat.completions.create(model="limited", messages=MESSAGES),
        }
        for kind, ask in cases.items():
            with self.subTest(kind.__name__), self.assertRaises(kind) as caught:
                ask()
            self.assertTrue(caught.exception.request_id)
            self.assertTrue(caught.exception.code)

    def test_too_large(self) -> None:
        with self.assertRaises(openai.APIStatusError) as caught:
            self.client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "x" * (33 << 20)}])
        self.assertEqual((caught.exception.status_code, caught.exception.code), (413, "request_too_large"))

    def test_error_in_mid_stream(self) -> None:
        with self.assertRaises(openai.APIError) as caught:
            list(self.client.chat.completions.create(model="broke", messages=MESSAGES, stream=True))
        self.assertIn("fell over", str(caught.exception))

    def test_embeddings(self) -> None:
        answer = self.client.embeddings.create(model="relay", input="a", encoding_format="float")
        self.assertEqual(answer.data[0].embedding, [0.5, -0.25])

    def test_async(self) -> None:
        async def all_of_them() -> list[str]:
            async with openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0, timeout=20) as client:

                async def one(number: int) -> str:
                    stream = await client.chat.completions.create(
                        model="demo", messages=[{"role": "user", "content": f"number {number}."}], stream=True
                    )
                    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

                return await asyncio.gather(*map(one, range(50)))

        for number, text in enumerate(asyncio.run(all_of_them())):
            self.assertIn(f"number {number}.", text)
