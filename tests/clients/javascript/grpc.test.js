// gRPC with nothing but the .proto files.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { after, test } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ASKED, GRPC } from "./service.js";

const PROTOS = fileURLToPath(new globalThis.URL("../../../protos", import.meta.url));
const FILES = ["codegemma/v1/code_assist_service.proto", "codegemma/v1/model_service.proto"];
const { codegemma } = grpc.loadPackageDefinition(loadSync(FILES, { includeDirs: [PROTOS], keepCase: true }));
const credentials = grpc.credentials.createInsecure();
const assist = new codegemma.v1.CodeAssistService(GRPC, credentials);
const models = new codegemma.v1.ModelService(GRPC, credentials);
const fim = { prefix: ASKED.prefix, suffix: ASKED.suffix };
const generation_config = { max_tokens: 8 };

after(() => [assist, models].forEach((client) => client.close()));

function unary(client, method, request) {
  return new Promise((resolve, reject) => {
    client[method](request, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

async function streamed(call) {
  let text = "";
  for await (const part of call) text += part.choice?.text ?? "";
  return text;
}

test("it lists models", async () => {
  const listed = await unary(models, "ListModels", {});
  assert.deepEqual(listed.models.map(({ id }) => id), [ASKED.model]);
});

test("it fills in, whole and streamed", async () => {
  const whole = await unary(assist, "Complete", { fim, generation_config });
  assert.equal(await streamed(assist.StreamComplete({ fim, generation_config })), whole.choices[0].text);
  assert.ok(whole.choices[0].text.startsWith(ASKED.filled_in), whole.choices[0].text);
});

test("it chats, whole and streamed", async () => {
  const request = { messages: [{ role: "ROLE_USER", text: ASKED.question }], generation_config };
  const whole = await unary(assist, "Chat", request);
  assert.equal(await streamed(assist.StreamChat(request)), whole.choices[0].text);
  assert.ok(whole.choices[0].text.startsWith(ASKED.answer), whole.choices[0].text);
});

test("a wrong field is an invalid argument", async () => {
  const wrong = unary(assist, "Complete", { fim, generation_config: { temperature: -1 } });
  await assert.rejects(wrong, { code: grpc.status.INVALID_ARGUMENT });
});
