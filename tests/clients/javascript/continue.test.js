// Continue's adapters: each provider that fills in at an address of one's own.
import assert from "node:assert/strict";
import { test } from "node:test";
import { constructLlmApi } from "@continuedev/openai-adapters";
import { ASKED, URL } from "./service.js";

const model = ASKED.model;
const FILLS_IN = [
  ["openai", "/v1/"],
  ["vllm", "/v1/"],
  ["lmstudio", "/v1/"],
  ["llamafile", "/v1/"],
  ["llama.cpp", "/v1/"],
  ["mistral", "/v1/"],
  ["ollama", "/v1/"],
  ["deepseek", "/v1/"],
  ["deepseek", "/"],
];
const CHATS = [
  ["openai", "/v1/"],
  ["mistral", "/v1/"],
  ["ollama", "/v1/"],
  ["anthropic", "/v1/"],
];

function adapter(provider, path) {
  return constructLlmApi({ provider, model, apiBase: URL + path, apiKey: "none" });
}

for (const [provider, path] of FILLS_IN) {
  test(`${provider} fills in at ${path}`, async () => {
    const stop = ["/src/", "#- coding: utf-8", "```"];
    const request = { model, prompt: ASKED.prefix, suffix: ASKED.suffix, max_tokens: 8, stop, stream: true };
    let text = "";
    for await (const part of adapter(provider, path).fimStream(request, new AbortController().signal)) {
      text += part.choices[0].delta.content ?? "";
    }
    assert.ok(text.startsWith(ASKED.filled_in), text);
  });
}

for (const [provider, path] of CHATS) {
  test(`${provider} chats at ${path}`, async () => {
    const request = { model, messages: [{ role: "user", content: ASKED.question }], max_tokens: 8, temperature: 0 };
    const { signal } = new AbortController();
    const whole = await adapter(provider, path).chatCompletionNonStream(request, signal);
    let streamed = "";
    for await (const part of adapter(provider, path).chatCompletionStream({ ...request, stream: true }, signal)) {
      streamed += part.choices[0]?.delta.content ?? "";
    }
    assert.equal(streamed, whole.choices[0].message.content);
    assert.ok(streamed.startsWith(ASKED.answer), streamed);
  });
}
