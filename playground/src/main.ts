// The playground: an editor, a chat and the service behind both.
import { Chat } from "./chat.ts";
import { Completer } from "./completer.ts";
import { byId } from "./dom.ts";
import { CodeEditor } from "./editor.ts";
import { currentKey, KeyDialog } from "./key.ts";
import { fetchModels, ModelChoice } from "./models.ts";
import { needsKey, plainWords } from "./plain_words.ts";
import { ServiceStatus } from "./service_status.ts";

const fimModel = new ModelChoice("fim-model", "fim");
const chatModel = new ModelChoice("chat-model", "chat");
const keyDialog = new KeyDialog(() => void begin());
const status = new ServiceStatus(() => void showModels());
const completer = new Completer(fimModel, () => byId<HTMLInputElement>("path").value, report);
const editor = new CodeEditor(completer);
new Chat(chatModel, (code) => editor.insert(code), report);

/** Says what went wrong where it did, and asks for a key if it is for want of one. */
function report(error: unknown, notice: HTMLElement): void {
  notice.textContent = plainWords(error);
  if (needsKey(error)) keyDialog.open(currentKey() ? "The service did not accept this key." : "");
}

async function showModels(): Promise<void> {
  try {
    const models = await fetchModels();
    fimModel.show(models);
    chatModel.show(models);
  } catch (error) {
    report(error, byId("service-notice"));
  }
}

async function begin(): Promise<void> {
  await showModels();
  status.start();
}

void begin();
