// LangChain.js against a running gateway; run by tests/interop/run.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { tool } from '@langchain/core/tools';
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { z } from 'zod';

const configuration = { baseURL: process.env.PARLEY_URL };
const apiKey = process.env.PARLEY_KEY;
const model = (name, more = {}) => new ChatOpenAI({ model: name, apiKey, configuration, maxRetries: 0, ...more });

async function whole(stream) {
  let all;
  for await (const chunk of await stream) all = all ? all.concat(chunk) : chunk;
  return all;
}

const calls = (message) => message.tool_calls.map(({ name, args }) => ({ name, args }));
const TEXT = 'Hé "😀"\nend';

test('invoke', async () => {
  const answer = await model('relay').invoke('hello');
  assert.equal(answer.content, TEXT);
  assert.equal(answer.response_metadata.finish_reason, 'stop');
  assert.equal(answer.usage_metadata.total_tokens, 18);
});

test('stream', async () => {
  const all = await whole(model('relay', { streamUsage: true }).stream('hello'));
  assert.equal(all.content, TEXT);
  assert.equal(all.response_metadata.finish_reason, 'stop');
  assert.equal(all.usage_metadata.total_tokens, 18);
});

test('tools, there and back', async () => {
  const schema = z.object({ a: z.number(), b: z.number() });
  const add = tool(({ a, b }) => `sum=${a + b}`, { name: 'add', description: 'adds', schema });
  const bound = model('demo').bindTools([add]);
  const question = new HumanMessage('/call add {"a":20,"b":22}');
  const asked = await bound.invoke([question]);
  assert.deepEqual(calls(asked), [{ name: 'add', args: { a: 20, b: 22 } }]);
  const result = await add.invoke(asked.tool_calls[0]);
  assert.ok(result instanceof ToolMessage);
  const answer = await bound.invoke([question, asked, result]);
  assert.match(answer.content, /sum=42/);
});

test('tool calls in a stream', async () => {
  const add = tool(() => '', { name: 'add', description: 'adds', schema: z.object({ a: z.number() }) });
  const all = await whole(model('demo').bindTools([add]).stream('/call add {"a":1}'));
  assert.deepEqual(calls(all), [{ name: 'add', args: { a: 1 } }]);
});

test('errors', async () => {
  await assert.rejects(model('none').invoke('x'), (error) => error.status === 404);
  await assert.rejects(model('limited').invoke('x'), (error) => error.status === 429);
  await assert.rejects(async () => { for await (const _ of await model('broke').stream('x')); }, /fell over/);
});

test('abort', async () => {
  await assert.rejects(model('slow').invoke('x', { signal: AbortSignal.timeout(200) }));
});

test('embeddings', async () => {
  const embeddings = new OpenAIEmbeddings({ model: 'relay', apiKey, configuration, encodingFormat: 'float' });
  assert.deepEqual(await embeddings.embedQuery('a'), [0.5, -0.25]);
});
