// The key of this tab: kept until the tab is closed, and asked for when the service wants one.
import { byId } from "./dom.ts";

const STORED_AS = "codegemma.key";

/** The key, or nothing. */
export function currentKey(): string {
  return sessionStorage.getItem(STORED_AS) ?? "";
}

/** The dialog that asks for the key. */
export class KeyDialog {
  private readonly dialog = byId<HTMLDialogElement>("key-dialog");
  private readonly input = byId<HTMLInputElement>("key");
  private readonly problem = byId("key-error");

  /** `onChange` is called with every new key, and with none. */
  constructor(private readonly onChange: () => void) {
    byId("key-button").addEventListener("click", () => this.open());
    byId("key-cancel").addEventListener("click", () => this.dialog.close());
    byId("key-forget").addEventListener("click", () => this.use(""));
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.use(this.input.value.trim());
    });
  }

  /** Asks for a key; `problem` says why, where nobody asked for the dialog. */
  open(problem = ""): void {
    this.problem.textContent = problem;
    byId("key-forget").hidden = !currentKey();
    if (!this.dialog.open) this.dialog.showModal();
    this.input.focus();
    this.input.select();
  }

  private use(key: string): void {
    if (key) sessionStorage.setItem(STORED_AS, key);
    else sessionStorage.removeItem(STORED_AS);
    this.input.value = "";
    this.dialog.close();
    this.onChange();
  }
}
