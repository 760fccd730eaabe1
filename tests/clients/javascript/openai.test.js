// OpenAI's library.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { ASKED, URL } from "./service.js";

const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: "none" });
const model = ASKED.model;
const messages = [{ role: "user", content: ASKED.question }];

test("it lists models", async () => {
  const models = await client.models.list();
  assert.deepEqual(models.data.map(({ id }) => id), [model]);
});

test("it fills in, whole and streamed", async () => {
  const request = { model, prompt: ASKED.prefix, suffix: ASKED.suffix, max_tokens: 8 };
  const whole = (await client.completions.create(request)).choices[0].text;
  let streamed = "";
  for await (const part of await client.completions.create({ ...request, stream: true })) streamed += part.choices[0].text;
  assert.equal(streamed, whole);
  assert.ok(whole.startsWith(ASKED.filled_in), whole);
});

test("it chats, whole and streamed", async () => {
  const request = { model, messages, max_tokens: 8 };
  const whole = (await client.chat.completions.create(request)).choices[0].message.content;
  const streamed = await client.chat.completions.stream(request).finalContent();
  assert.equal(streamed, whole);
  assert.ok(whole.startsWith(ASKED.answer), whole);
});

test("it asks for a response", async () => {
  const response = await client.responses.create({ model, input: ASKED.question, max_output_tokens: 8 });
  assert.ok(response.output_text.startsWith(ASKED.answer), response.output_text);
  assert.equal(response.status, "incomplete");
});

test("a parameter that is not here is refused by name", async () => {
  const refused = client.chat.completions.create({ model, messages, response_format: { type: "json_object" } });
  await assert.rejects(refused, { status: 400, code: "unsupported_parameter", param: "response_format" });
});

test("a model that is not served is not found", async () => {
  await assert.rejects(client.completions.create({ model: "gpt", prompt: "x" }), OpenAI.NotFoundError);
});
