// One question through the official SDK, which repeats it by itself when the connection is lost.
// test_conversations.py starts it; the answer goes to standard output.
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.env.PARLEY_URL, apiKey: 'none', maxRetries: 8, timeout: 20_000 });
const messages = [{ role: 'user', content: process.argv[2] }];
const completion = await client.chat.completions.create({ model: 'server', messages, session_id: process.argv[3] });
console.log(completion.choices[0].message.content);
