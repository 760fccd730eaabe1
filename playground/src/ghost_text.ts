// Ghost text: a suggestion shown behind the cursor, that is not yet in the document.
import { EditorState, Prec, StateEffect, StateField, type Extension, type Transaction } from "@codemirror/state";
import { Decoration, EditorView, keymap, WidgetType, type DecorationSet } from "@codemirror/view";

interface Suggestion {
  at: number;
  text: string;
}

const set = StateEffect.define<Suggestion | null>();

/** The suggestion; gone as soon as something else is written or the cursor moves, shorter when its own text is written. */
const suggestion = StateField.define<Suggestion | null>({
  create: () => null,
  update(value, transaction) {
    for (const effect of transaction.effects) if (effect.is(set)) return effect.value;
    if (!value || (!transaction.docChanged && !transaction.selection)) return value;
    const typed = transaction.docChanged ? insertedAt(transaction, value.at) : "";
    const rest = { at: value.at + typed.length, text: value.text.slice(typed.length) };
    const follows = value.text.startsWith(typed) && (typed || !transaction.docChanged);
    return follows && rest.text && isCursorAt(transaction.state, rest.at) ? rest : null;
  },
  provide: (field) => EditorView.decorations.from(field, decorations),
});

/** The suggestion of a state. */
export function suggestionIn(state: EditorState): Suggestion | null {
  return state.field(suggestion);
}

/** Shows text behind the cursor, or nothing. */
export function suggest(view: EditorView, text: string): void {
  view.dispatch({ effects: set.of(text ? { at: view.state.selection.main.head, text } : null) });
}

/** Shows more of what is there. */
export function suggestMore(view: EditorView, text: string): void {
  const { at, text: before } = suggestionIn(view.state) ?? { at: view.state.selection.main.head, text: "" };
  view.dispatch({ effects: set.of({ at, text: before + text }) });
}

/** Ghost text and its keys. Without a suggestion, Tab leaves the editor: nobody is caught in it. */
export function ghostText(onDismiss: () => void): Extension {
  const accept = (part: (text: string) => string) => (view: EditorView) => {
    const shown = suggestionIn(view.state);
    if (!shown) return false;
    const insert = part(shown.text);
    const end = shown.at + insert.length;
    view.dispatch({
      changes: { from: shown.at, insert },
      selection: { anchor: end },
      userEvent: "input.complete",
      scrollIntoView: true,
    });
    return true;
  };
  const acceptWord = accept((text) => /^\s*(\w+|[^\w\s]+)|^\s+/.exec(text)?.[0] ?? text);
  const dismiss = (view: EditorView): boolean => {
    if (!suggestionIn(view.state)) return false;
    suggest(view, "");
    onDismiss();
    return true;
  };
  const keys = keymap.of([
    { key: "Tab", run: accept((text) => text) },
    { key: "Ctrl-ArrowRight", run: acceptWord },
    { key: "Alt-ArrowRight", run: acceptWord },
    { key: "Escape", run: dismiss },
  ]);
  return [suggestion, Prec.highest(keys)];
}

/** The text that a transaction inserts at a place, if that is all that it does. */
function insertedAt(transaction: Transaction, at: number): string {
  let inserted = "";
  transaction.changes.iterChanges((from, to, _fromNew, _toNew, text) => {
    inserted = from === at && to === at ? text.toString() : "\0";
  });
  return inserted;
}

function isCursorAt(state: EditorState, place: number): boolean {
  return state.selection.main.empty && state.selection.main.head === place;
}

class Ghost extends WidgetType {
  constructor(readonly text: string) {
    super();
  }

  override eq(other: Ghost): boolean {
    return other.text === this.text;
  }

  override toDOM(): HTMLElement {
    const shown = document.createElement("span");
    shown.className = "cm-ghost";
    shown.textContent = this.text;
    shown.setAttribute("aria-hidden", "true"); // said once, when it is complete
    return shown;
  }
}

function decorations(value: Suggestion | null): DecorationSet {
  if (!value) return Decoration.none;
  return Decoration.set(Decoration.widget({ widget: new Ghost(value.text), side: 1 }).range(value.at));
}
