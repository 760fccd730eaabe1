// Asks for a completion once nobody has typed for a moment, and shows it as ghost text.
import { EditorView, type ViewUpdate } from "@codemirror/view";
import { announce, byId } from "./dom.ts";
import { generate } from "./generation.ts";
import { suggest, suggestionIn, suggestMore } from "./ghost_text.ts";
import type { ModelChoice } from "./models.ts";
import { isSuperseded } from "./plain_words.ts";
import { showTiming } from "./timing.ts";

const PAUSE_MS = 150;
const MAX_TOKENS = 128;

/** One editor's completions: a newer one ends an older one, here and in the service. */
export class Completer {
  private readonly notice = byId("complete-notice");
  private readonly timing = byId("complete-timing");
  private timer = 0;
  private running = new AbortController();

  constructor(
    private readonly model: ModelChoice,
    private readonly path: () => string,
    private readonly onError: (error: unknown, notice: HTMLElement) => void,
  ) {
    showTiming(this.timing);
  }

  /** Watches what is written. */
  readonly listener = EditorView.updateListener.of((update: ViewUpdate) => {
    if (update.docChanged) {
      if (suggestionIn(update.state)) return; // what was written is what it suggests: the rest still holds
      this.stop();
      const isPerson = update.transactions.some((each) => each.isUserEvent("input") || each.isUserEvent("delete"));
      if (isPerson) this.timer = window.setTimeout(() => this.ask(update.view), PAUSE_MS);
    } else if (update.selectionSet) {
      this.stop();
    }
  });

  /** Ends what runs and what is about to. */
  stop(): void {
    window.clearTimeout(this.timer);
    this.running.abort();
  }

  /** Asks now, at the cursor. */
  readonly ask = async (view: EditorView): Promise<void> => {
    this.stop();
    const { main } = view.state.selection;
    if (!main.empty) return;
    const { signal } = (this.running = new AbortController());
    const body = {
      ...this.model.fields,
      prompt: view.state.sliceDoc(0, main.head),
      suffix: view.state.sliceDoc(main.head),
      path: this.path(),
      post_processing: true,
      max_tokens: MAX_TOKENS,
    };
    this.notice.textContent = "";
    suggest(view, "");
    try {
      const took = await generate("v1/completions", body, signal, (text) => {
        if (!signal.aborted) suggestMore(view, text);
      });
      if (signal.aborted) return;
      showTiming(this.timing, took);
      const shown = suggestionIn(view.state);
      announce(shown ? `Suggestion: ${shown.text}` : "Nothing to add here.");
      if (took.firstTextMs === null) this.notice.textContent = "The model has nothing to add here.";
    } catch (error) {
      if (!isSuperseded(error)) this.onError(error, this.notice);
    }
  };
}
