// The official OpenAI SDK for Node against a running gateway.
// test_sdk_node.py starts both ends and names them in the environment: PARLEY_URL, PARLEY_KEY, and PARLEY_SMALL_URL
// (a gateway that takes bodies up to 64 KiB). The agents `flaky`, `limited` and `broke` have a scripted provider.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';

import OpenAI from 'openai';

const baseURL = process.env.PARLEY_URL;
const apiKey = process.env.PARLEY_KEY;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 20_000 });
const messages = [{ role: 'user', content: 'hello from the SDK' }];

async function rejection(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  assert.fail('it should have failed');
}

test('models.list', async () => {
  const ids = [];
  for await (const model of client.models.list()) {
    assert.equal(model.object, 'model');
    ids.push(model.id);
  }
  assert.deepEqual(ids, ['demo', 'team/writer:1@v2', 'relay', 'slow', 'flaky', 'limited', 'broke', 'fallen']);
});

test('models.retrieve', async () => {
  assert.equal((await client.models.retrieve('demo')).id, 'demo');
  assert.equal((await client.models.retrieve('team/writer:1@v2')).id, 'team/writer:1@v2');
});

test('create', async () => {
  const asked = client.chat.completions.create({ model: 'demo', messages });
  const { data, response, request_id } = await asked.withResponse();
  assert.equal(data.object, 'chat.completion');
  assert.match(data.choices[0].message.content, /hello from the SDK/);
  assert.equal(data.choices[0].finish_reason, 'stop');
  assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
  assert.equal(request_id, response.headers.get('x-request-id'));
  assert.equal(data._request_id, request_id);
});

for (const include_usage of [undefined, false, true]) {
  test(`stream, include_usage ${include_usage}`, async () => {
    const extra = include_usage === undefined ? {} : { stream_options: { include_usage } };
    const stream = await client.chat.completions.create({ model: 'demo', messages, stream: true, ...extra });
    let text = '', usage = 0, finish, ids = new Set();
    for await (const chunk of stream) {
      ids.add(chunk.id);
      text += chunk.choices[0]?.delta.content ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
      if (chunk.usage) {
        usage += 1;
        assert.deepEqual(chunk.choices, []);
      }
    }
    assert.match(text, /hello from the SDK/);
    assert.equal(finish, 'stop');
    assert.equal(ids.size, 1);
    assert.equal(usage, include_usage ? 1 : 0);
  });
}

test('.stream() helper, the strictest reader there is', async () => {
  const runner = client.chat.completions.stream({ model: 'relay', messages, stream_options: { include_usage: true } });
  const deltas = [];
  runner.on('content', (delta) => deltas.push(delta));
  const completion = await runner.finalChatCompletion();
  assert.equal(completion.choices[0].message.content, 'Hé "😀"\nend');
  assert.equal(deltas.join(''), completion.choices[0].message.content);
  assert.equal(completion.choices[0].finish_reason, 'stop');
  assert.equal(completion.model, 'relay');
  assert.equal(completion.usage.total_tokens, 18);
});

test('.stream() helper with a tool call', async () => {
  const tools = [{ type: 'function', function: { name: 'add', parameters: { type: 'object', properties: {} } } }];
  const runner = client.chat.completions.stream({
    model: 'demo', tools, messages: [{ role: 'user', content: '/call add {"a":1}' }],
  });
  const { choices: [choice] } = await runner.finalChatCompletion();
  assert.equal(choice.finish_reason, 'tool_calls');
  assert.equal(choice.message.tool_calls[0].function.name, 'add');
  assert.deepEqual(JSON.parse(choice.message.tool_calls[0].function.arguments), { a: 1 });
});

test('.runTools() closes the loop', async () => {
  let called;
  const runner = client.chat.completions.runTools({
    model: 'demo',
    messages: [{ role: 'user', content: '/call add {"a":20,"b":22}' }],
    tools: [{ type: 'function', function: {
      name: 'add', parse: JSON.parse, parameters: { type: 'object', properties: {} },
      function: (given) => { called = given; return `sum=${given.a + given.b}`; } } }],
  });
  assert.match(await runner.finalContent(), /sum=42/);
  assert.deepEqual(called, { a: 20, b: 22 });
});

test('abort', async () => {
  const controller = new AbortController();
  const signal = controller.signal;
  const stream = await client.chat.completions.create({ model: 'slow', messages, stream: true }, { signal });
  let seen = 0;
  for await (const chunk of stream) {
    seen += chunk.choices[0]?.delta.content ? 1 : 0;
    if (seen === 1) controller.abort();
  }
  assert.ok(seen >= 1);
  const soon = { signal: AbortSignal.timeout(200) };
  const late = await rejection(client.chat.completions.create({ model: 'slow', messages }, soon));
  assert.ok(late instanceof OpenAI.APIUserAbortError, late.constructor.name);
});

test('breaking out of a stream', async () => {
  for await (const chunk of await client.chat.completions.create({ model: 'slow', messages, stream: true })) {
    if (chunk.choices[0]?.delta.content) break;
  }
});

const errors = {
  400: [OpenAI.BadRequestError, () => client.chat.completions.create({ model: 'demo', messages, temperature: 'hot' }),
    { code: 'invalid_type', param: 'temperature', type: 'invalid_request_error' }],
  401: [OpenAI.AuthenticationError, () => client.withOptions({ apiKey: 'wrong' }).models.list(),
    { code: 'invalid_api_key', param: null, type: 'invalid_request_error' }],
  404: [OpenAI.NotFoundError, () => client.chat.completions.create({ model: 'none', messages }),
    { code: 'model_not_found', param: 'model', type: 'invalid_request_error' }],
  413: [OpenAI.APIError, () => client.withOptions({ baseURL: process.env.PARLEY_SMALL_URL }).chat.completions.create(
    { model: 'demo', messages: [{ role: 'user', content: 'x'.repeat(100_000) }] }),
    { code: 'request_too_large', param: null, type: 'invalid_request_error' }],
  429: [OpenAI.RateLimitError, () => client.chat.completions.create({ model: 'limited', messages }),
    { code: 'rate_limit_exceeded', param: null }],
  502: [OpenAI.InternalServerError, () => client.chat.completions.create({ model: 'fallen', messages }), {}],
};
for (const [status, [kind, ask, fields]] of Object.entries(errors)) {
  test(`error ${status}`, async () => {
    const error = await rejection(ask());
    assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
    assert.equal(error.status, Number(status));
    assert.ok(error.requestID);
    for (const [name, value] of Object.entries(fields)) assert.equal(error[name], value, name);
  });
}

test('an error in mid-stream is thrown', async () => {
  const stream = await client.chat.completions.create({ model: 'broke', messages, stream: true });
  let text = '';
  const error = await rejection((async () => {
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
  })());
  assert.ok(error instanceof OpenAI.APIError, error.constructor.name);
  assert.match(error.message, /fell over/);
  assert.equal(text, 'Hé ');
});

test('automatic retry after 429 with retry-after-ms', async () => {
  const began = Date.now();
  const completion = await client.chat.completions.create({ model: 'flaky', messages }, { maxRetries: 2 });
  assert.equal(completion.choices[0].message.content, 'Hé "😀"\nend');
  assert.ok(Date.now() - began >= 290, 'the wait that the provider asked for');
});

test('x-should-retry: false is obeyed', async () => {
  const began = Date.now();
  const error = await rejection(client.chat.completions.create({ model: 'fallen', messages }, { maxRetries: 3 }));
  assert.equal(error.status, 502);
  assert.equal(error.headers.get('x-should-retry'), 'false');
  assert.ok(Date.now() - began < 400, 'no wait between attempts');
});

test('embeddings, base64 by default', async () => {
  const answer = await client.embeddings.create({ model: 'relay', input: ['a'] });
  assert.deepEqual(answer.data[0].embedding.map((x) => Math.round(x * 100) / 100), [0.5, -0.25]);
});

test('a hundred at once', async () => {
  const answers = await Promise.all(Array.from({ length: 100 }, (_, n) =>
    client.chat.completions.create({ model: 'demo', messages: [{ role: 'user', content: `number ${n}.` }] })));
  answers.forEach((answer, n) => assert.match(answer.choices[0].message.content, new RegExp(`number ${n}\\.`)));
});

// The bytes that unit_server's writer makes of a run with tools (tests/unit/server/tool_display_test.cpp), so that no
// tool server is needed to ask the strictest reader.
test('tools shown as events', async (t) => {
  const golden = readFileSync(new URL('../../golden/tool_progress/events.sse', import.meta.url));
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    for (let at = 0; at < golden.length; at += 97) response.write(golden.subarray(at, at + 97));
    response.end();
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  t.after(() => server.close());
  const asked = { model: 'helper', messages, stream_options: { include_usage: true } };
  const chat = client.withOptions({ baseURL: `http://127.0.0.1:${server.address().port}/v1` }).chat.completions;
  const steps = [];
  for await (const chunk of await chat.create({ ...asked, stream: true })) if (chunk.agent) steps.push(chunk.agent);
  assert.deepEqual(steps.map(({ type, call_id }) => [type.replace('tool_call.', ''), call_id]), [
    ['started', 'call_1'], ['started', 'call_2'], ['progress', 'call_2'], ['completed', 'call_2'], ['completed', 'call_1']]);
  assert.equal(steps[3].is_error, true);
  const completion = await chat.stream(asked).finalChatCompletion();
  assert.equal(completion.choices[0].message.content, 'Let me see. It says 2.');
  assert.equal(completion.choices[0].message.tool_calls, undefined, 'the agent runs them, not the client');
  assert.equal(completion.choices[0].finish_reason, 'stop');
  assert.equal(completion.usage.agent.tool_calls_executed, 2);
});

test('idempotencyKey', async () => {
  const headers = { 'idempotency-key': `sdk-${process.pid}-${Date.now()}` };
  const first = await client.chat.completions.create({ model: 'demo', messages }, { headers });
  const { data, response } = await client.chat.completions.create({ model: 'demo', messages }, { headers }).withResponse();
  assert.equal(data.id, first.id);
  assert.equal(response.headers.get('idempotent-replayed'), 'true');
  const error = await rejection(client.chat.completions.create({ model: 'demo', messages: [...messages, ...messages] }, { headers }));
  assert.ok(error instanceof OpenAI.BadRequestError);
  assert.equal(error.code, 'idempotency_key_reused');
});
