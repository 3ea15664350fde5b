// The official OpenAI SDK for Node against agents that run tools themselves, in every way of showing them.
// test_sdk_tools.py starts the gateway and names it in the environment: PARLEY_URL, PARLEY_KEY. The agents `quiet`,
// `reasoning` and `events` show tools in that way.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: process.env.PARLEY_URL, apiKey: process.env.PARLEY_KEY, maxRetries: 0, timeout: 20_000,
});
const content = '/call one__slow {"seconds":0.3,"every":0.1}\n/call one__echo {"text":"héllo"}\n/call one__fail {}';
const messages = [{ role: 'user', content }];
const addTool = { type: 'function', function: { name: 'add', parameters: { type: 'object', properties: {} } } };

function checkText(text) {
  assert.match(text, /took 0\.3 s/);
  assert.match(text, /héllo/);
  assert.match(text, /it failed/);
}

for (const model of ['quiet', 'reasoning', 'events']) {
  test(`create, ${model}`, async () => {
    const completion = await client.chat.completions.create({ model, messages });
    assert.equal(completion.choices.length, 1);
    checkText(completion.choices[0].message.content);
    assert.equal(completion.choices[0].finish_reason, 'stop');
    assert.equal(completion.choices[0].message.tool_calls, undefined);
    assert.equal(completion.usage.agent.tool_calls_executed, 3);
    assert.equal(completion.usage.agent.tool_calls_failed, 1);
    assert.equal(completion.usage.total_tokens, completion.usage.prompt_tokens + completion.usage.completion_tokens);
  });

  test(`stream, ${model}`, async () => {
    const stream = await client.chat.completions.create({
      model, messages, stream: true, stream_options: { include_usage: true },
    });
    let text = '', reasoning = '', finish = [], usage = [], agent = [], ids = new Set();
    for await (const chunk of stream) {
      ids.add(chunk.id);
      text += chunk.choices[0]?.delta.content ?? '';
      reasoning += chunk.choices[0]?.delta.reasoning_content ?? '';
      assert.equal(chunk.choices[0]?.delta.tool_calls, undefined);
      if (chunk.choices[0]?.finish_reason) finish.push(chunk.choices[0].finish_reason);
      if (chunk.usage) usage.push(chunk.usage);
      if (chunk.agent) agent.push(chunk.agent.type);
    }
    checkText(text);
    assert.deepEqual(finish, ['stop']);
    assert.equal(ids.size, 1);
    assert.equal(usage.length, 1);
    assert.equal(usage[0].agent.tool_rounds, 1);
    assert.equal(reasoning.includes('one__slow'), model === 'reasoning');
    const count = (type) => agent.filter((seen) => seen === `tool_call.${type}`).length;
    assert.deepEqual([count('started'), count('completed')], model === 'events' ? [3, 3] : [0, 0]);
  });

  test(`.stream() helper, ${model}`, async () => {
    const runner = client.chat.completions.stream({ model, messages });
    const deltas = [];
    runner.on('content', (delta) => deltas.push(delta));
    const { choices: [choice] } = await runner.finalChatCompletion();
    checkText(choice.message.content);
    assert.equal(deltas.join(''), choice.message.content);
    assert.equal(choice.finish_reason, 'stop');
  });

  test(`client tool beside agent tools, ${model}`, async () => {
    let called;
    const runner = client.chat.completions.runTools({
      model,
      messages: [{ role: 'user', content: '/call one__echo {"text":"from the agent"}\n/call add {"a":20,"b":22}' }],
      stream: true,
      tools: [{ type: 'function', function: {
        ...addTool.function, parse: JSON.parse,
        function: (given) => { called = given; return `sum=${given.a + given.b}`; } } }],
    });
    const text = await runner.finalContent();
    assert.match(text, /sum=42/);
    assert.match(text, /from the agent/);
    assert.deepEqual(called, { a: 20, b: 22 });
  });
}

test('idempotency key', async () => {
  const body = { model: 'quiet', messages: [{ role: 'user', content: '/call one__echo {"text":"once"}' }] };
  const ask = () => client.chat.completions.create(body, { idempotencyKey: 'sdk-key-0001', headers: {
    'Idempotency-Key': 'sdk-key-0001' } }).withResponse();
  const first = await ask(), second = await ask();
  assert.deepEqual(first.data, second.data);
  assert.equal(second.response.headers.get('idempotent-replayed'), 'true');
});

test('abort while a tool runs', async () => {
  const controller = new AbortController();
  const stream = await client.chat.completions.create(
    { model: 'events', messages: [{ role: 'user', content: '/call one__hang {}' }], stream: true },
    { signal: controller.signal });
  for await (const chunk of stream) {
    if (chunk.agent?.type === 'tool_call.started') controller.abort();
  }
  assert.ok(controller.signal.aborted);
});
