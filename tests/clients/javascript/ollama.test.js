// Ollama's library.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ollama } from "ollama";
import { ASKED, URL } from "./service.js";

const client = new Ollama({ host: URL });
const model = ASKED.model;
const options = { num_predict: 8, temperature: 0 };

test("it finds the model", async () => {
  for (const { models } of [await client.list(), await client.ps()]) assert.ok(models[0].model.includes(model));
  const shown = await client.show({ model });
  assert.ok(shown.capabilities.includes("insert"));
});

test("it fills in, whole and streamed", async () => {
  const request = { model, prompt: ASKED.prefix, suffix: ASKED.suffix, options };
  const whole = (await client.generate(request)).response;
  let streamed = "";
  for await (const part of await client.generate({ ...request, stream: true })) streamed += part.response;
  assert.equal(streamed, whole);
  assert.ok(whole.startsWith(ASKED.filled_in), whole);
});

test("it chats, whole and streamed", async () => {
  const request = { model, messages: [{ role: "user", content: ASKED.question }], options };
  const whole = (await client.chat(request)).message.content;
  let streamed = "";
  for await (const part of await client.chat({ ...request, stream: true })) streamed += part.message.content;
  assert.equal(streamed, whole);
  assert.ok(whole.startsWith(ASKED.answer), whole);
});

test("errors are shown as sentences", async () => {
  await assert.rejects(client.generate({ model: "gpt", prompt: "x" }), /not served here/);
  await assert.rejects(client.embed({ model, input: "x" }), { status_code: 501 });
});
