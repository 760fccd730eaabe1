// The conversation.
import { answerElements } from "./answer_text.ts";
import { announce, byId, made } from "./dom.ts";
import { generate, type Took } from "./generation.ts";
import type { ModelChoice } from "./models.ts";
import { showTiming } from "./timing.ts";

interface Message {
  role: "user" | "assistant";
  content: string;
}

/** The chat pane. */
export class Chat {
  private readonly log = byId("messages");
  private readonly empty = [...this.log.children];
  private readonly question = byId<HTMLTextAreaElement>("question");
  private readonly send = byId<HTMLButtonElement>("send");
  private readonly notice = byId("chat-notice");
  private readonly timing = byId("chat-timing");
  private messages: Message[] = [];
  private running: AbortController | null = null;

  constructor(
    private readonly model: ModelChoice,
    private readonly onInsert: (code: string) => void,
    private readonly onError: (error: unknown, notice: HTMLElement) => void,
  ) {
    showTiming(this.timing);
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.running) this.running.abort();
      else void this.ask();
    });
    this.question.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        if (!this.running) void this.ask();
      } else if (event.key === "Escape") {
        this.running?.abort();
      }
    });
    byId("chat-clear").addEventListener("click", () => this.clear());
  }

  private async ask(): Promise<void> {
    const content = this.question.value.trim();
    if (!content) return;
    const answer: Message = { role: "assistant", content: "" };
    const asked: Message[] = [...this.messages, { role: "user", content }];
    const shown = made("div", "message assistant running");
    if (!this.messages.length) this.log.replaceChildren();
    this.log.append(made("div", "message user", content), shown);
    this.question.value = "";
    this.notice.textContent = "";
    const running = (this.running = new AbortController());
    this.showRunning(true);
    this.toEnd();
    let took: Took | null = null;
    let failure: unknown = null;
    try {
      const body = { ...this.model.fields, messages: asked };
      took = await generate("v1/chat/completions", body, running.signal, (text) => {
        answer.content += text;
        this.show(shown, answer);
      });
    } catch (error) {
      failure = error;
    }
    if (running !== this.running) return; // the conversation was cleared
    this.running = null;
    this.showRunning(false);
    shown.classList.remove("running");
    if (took) {
      showTiming(this.timing, took);
      announce(running.signal.aborted ? "Stopped." : `Answer complete, ${took.answerTokens} tokens.`);
    } else {
      this.onError(failure, this.notice);
    }
    if (answer.content) {
      this.messages = [...asked, answer];
    } else {
      shown.previousElementSibling?.remove();
      shown.remove();
      if (!this.messages.length) this.log.replaceChildren(...this.empty);
      this.question.value ||= content; // so that it can be sent again
    }
  }

  private clear(): void {
    this.running?.abort();
    this.running = null;
    this.showRunning(false);
    this.messages = [];
    this.log.replaceChildren(...this.empty);
    this.notice.textContent = "";
    showTiming(this.timing);
    this.question.focus();
  }

  private show(shown: HTMLElement, answer: Message): void {
    const wasAtEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    shown.replaceChildren(...answerElements(answer.content, this.onInsert));
    if (wasAtEnd) this.toEnd();
  }

  private toEnd(): void {
    this.log.scrollTop = this.log.scrollHeight;
  }

  private showRunning(isRunning: boolean): void {
    this.send.textContent = isRunning ? "Stop" : "Send";
    this.send.classList.toggle("primary", !isRunning);
  }
}
