// The AI SDK (ai, @ai-sdk/openai-compatible) against a running gateway; run by tests/interop/run.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embed, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';

const parley = createOpenAICompatible({
  name: 'parley', baseURL: process.env.PARLEY_URL, apiKey: process.env.PARLEY_KEY, includeUsage: true,
});
const TEXT = 'Hé "😀"\nend';

const quiet = { maxRetries: 0, onError: () => {} };

async function parts(result) {
  const all = [];
  for await (const part of result.fullStream) all.push(part);
  return all;
}

test('generateText', async () => {
  const answer = await generateText({ model: parley('relay'), prompt: 'hello', maxRetries: 0 });
  assert.equal(answer.text, TEXT);
  assert.equal(answer.finishReason, 'stop');
  assert.equal(answer.usage.totalTokens, 18);
});

test('streamText', async () => {
  const all = await parts(streamText({ model: parley('relay'), prompt: 'hello', ...quiet }));
  assert.equal(all.filter((p) => p.type === 'text-delta').map((p) => p.text).join(''), TEXT);
  assert.deepEqual(all.filter((p) => p.type === 'error'), []);
  assert.equal(all.find((p) => p.type === 'finish').finishReason, 'stop');
});

test('usage of a stream', async () => {
  const result = streamText({ model: parley('relay'), prompt: 'hello', ...quiet });
  await result.consumeStream();
  assert.equal((await result.usage).totalTokens, 18);
});

test('reasoning', async () => {
  const all = await parts(streamText({ model: parley('reasoner'), prompt: 'hello', ...quiet }));
  assert.equal(all.filter((p) => p.type === 'reasoning-delta').map((p) => p.text).join(''), 'hm, so');
  assert.equal(all.filter((p) => p.type === 'text-delta').map((p) => p.text).join(''), 'yes');
});

test('tools, several steps', async () => {
  const number = { type: 'number' };
  const inputSchema = jsonSchema({ type: 'object', properties: { a: number, b: number } });
  const add = tool({ description: 'adds', inputSchema, execute: async ({ a, b }) => `sum=${a + b}` });
  const prompt = '/call add {"a":20,"b":22}';
  const asked = { model: parley('demo'), prompt, tools: { add }, stopWhen: stepCountIs(3) };
  const answer = await generateText({ ...asked, maxRetries: 0 });
  assert.match(answer.text, /sum=42/);
  const all = await parts(streamText({ ...asked, ...quiet }));
  assert.equal(all.filter((p) => p.type === 'tool-call').length, 1);
  assert.deepEqual(all.filter((p) => p.type === 'error' || p.type === 'tool-error'), []);
});

test('errors', async () => {
  const lost = generateText({ model: parley('none'), prompt: 'x', maxRetries: 0 });
  await assert.rejects(lost, (error) => error.statusCode === 404);
  const all = await parts(streamText({ model: parley('broke'), prompt: 'x', ...quiet }));
  assert.equal(all.filter((p) => p.type === 'error').length, 1);
});

test('embed', async () => {
  const { embedding } = await embed({ model: parley.embeddingModel('relay'), value: 'a', maxRetries: 0 });
  assert.deepEqual(embedding, [0.5, -0.25]);
});
