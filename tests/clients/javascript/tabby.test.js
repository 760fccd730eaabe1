// Tabby's agent: as a language server, which editors start, and as a library, which tells what became of a completion.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createMessageConnection, StreamMessageReader, StreamMessageWriter } from "vscode-jsonrpc/node";
import { ASKED, URL } from "./service.js";

const home = mkdtempSync(join(tmpdir(), "tabby-"));
mkdirSync(join(home, ".tabby-client/agent"), { recursive: true });
writeFileSync(join(home, ".tabby-client/agent/config.toml"), `[server]\nendpoint = "${URL}"\ntoken = "none"\n`);
process.env.HOME = home; // before the library is imported: it reads its configuration and keeps its data there
after(() => rmSync(home, { recursive: true }));

test("the language server completes", async () => {
  const cli = fileURLToPath(import.meta.resolve("tabby-agent").replace(/[^/]*$/, "cli.js"));
  const agent = spawn(process.execPath, [cli, "--lsp", "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
  const connection = createMessageConnection(new StreamMessageReader(agent.stdout), new StreamMessageWriter(agent.stdin));
  connection.listen();
  try {
    const capabilities = { textDocument: { completion: {} } };
    await connection.sendRequest("initialize", { processId: process.pid, rootUri: null, capabilities });
    await connection.sendNotification("initialized", {});
    const uri = "file:///add.py";
    const textDocument = { uri, languageId: "python", version: 1, text: ASKED.prefix + ASKED.suffix + "\n" };
    await connection.sendNotification("textDocument/didOpen", { textDocument });
    const position = { line: 1, character: 4 };
    const { items } = await connection.sendRequest("textDocument/completion", { textDocument: { uri }, position });
    assert.ok(items[0].textEdit.newText.trim().startsWith(ASKED.filled_in), JSON.stringify(items));
    assert.match(items[0].data.completionId, /^cmpl-/);
    await connection.sendRequest("shutdown");
    await connection.sendNotification("exit");
    await once(agent, "exit");
  } finally {
    agent.kill();
    connection.dispose();
  }
});

test("the library says what became of a completion", async () => {
  const { TabbyAgent } = await import("tabby-agent");
  const agent = new TabbyAgent();
  await agent.initialize({ config: { server: { endpoint: URL, token: "none" } } });
  try {
    assert.equal(agent.getStatus(), "ready");
    const document = { filepath: "add.py", language: "python", text: ASKED.prefix + ASKED.suffix };
    const { id, choices } = await agent.provideCompletions({ ...document, position: ASKED.prefix.length, manually: true });
    assert.ok(choices[0].text.trim().startsWith(ASKED.filled_in), choices[0].text);
    for (const type of ["view", "select"]) {
      assert.equal(await agent.postEvent({ type, completion_id: id, choice_index: choices[0].index }), true);
    }
  } finally {
    await agent.finalize();
  }
});
