// The editor: CodeMirror with a language, ghost text and the keys of any editor but Tab's.
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorSelection, EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";
import type { Completer } from "./completer.ts";
import { byId, made } from "./dom.ts";
import { ghostText } from "./ghost_text.ts";
import { CURSOR, languageOf, LANGUAGES, type Language } from "./languages.ts";

/** The code, its path and its language, which follow each other. */
export class CodeEditor {
  private readonly path = byId<HTMLInputElement>("path");
  private readonly select = byId<HTMLSelectElement>("language");
  private readonly language = new Compartment();
  private readonly view: EditorView;
  private sample = "";

  constructor(completer: Completer) {
    this.select.replaceChildren(...LANGUAGES.map(({ name }) => made("option", "", name)));
    this.view = new EditorView({
      parent: byId("editor"),
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        highlightActiveLine(),
        bracketMatching(),
        indentOnInput(),
        indentUnit.of("    "),
        syntaxHighlighting(classHighlighter),
        keymap.of([
          { key: "Ctrl-Space", run: (view) => (void completer.ask(view), true) },
          ...defaultKeymap,
          ...historyKeymap,
        ]),
        ghostText(() => completer.stop()),
        completer.listener,
        this.language.of([]),
        EditorState.tabSize.of(4),
        EditorView.contentAttributes.of({ "aria-label": "Code", "aria-describedby": "editor-keys", tabindex: "0" }),
        EditorView.cspNonce.of(document.querySelector<HTMLScriptElement>("script[nonce]")?.nonce ?? ""),
      ],
    });
    this.select.addEventListener("change", () => {
      const language = LANGUAGES[this.select.selectedIndex];
      if (language) this.begin(language);
    });
    this.path.addEventListener("input", () => {
      const language = languageOf(this.path.value);
      if (language) this.colour(language);
    });
    this.begin(LANGUAGES[0]!);
  }

  /** Puts code at the cursor, in place of what is selected, and goes there. */
  insert(code: string): void {
    this.view.dispatch(this.view.state.replaceSelection(code), { scrollIntoView: true });
    this.view.focus();
  }

  /** Takes a language, and its sample unless somebody has written something. */
  private begin(language: Language): void {
    this.colour(language);
    this.path.value = language.path;
    const written = this.view.state.doc.toString();
    if (written !== this.sample) return;
    const [before = "", after = ""] = language.sample.split(CURSOR);
    this.sample = before + after;
    this.view.dispatch({
      changes: { from: 0, to: written.length, insert: this.sample },
      selection: EditorSelection.cursor(before.length),
    });
  }

  private colour(language: Language): void {
    this.select.selectedIndex = LANGUAGES.indexOf(language);
    this.view.dispatch({ effects: this.language.reconfigure(language.support()) });
  }
}
