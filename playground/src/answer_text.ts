// An answer of a model as elements: blocks of code between fences (https://spec.commonmark.org), and text.
import { highlightCode, classHighlighter } from "@lezer/highlight";
import { button, made } from "./dom.ts";
import { languageOfFence } from "./languages.ts";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/;
const INLINE_CODE = /`([^`\n]+)`/;

/** The elements of an answer, complete or not. `onInsert` gets the code of a block. */
export function answerElements(text: string, onInsert: (code: string) => void): HTMLElement[] {
  const elements: HTMLElement[] = [];
  let lines: string[] = [];
  let fence: { mark: string; language: string } | null = null;
  const flush = (): void => {
    const content = lines.join("\n");
    if (fence) elements.push(codeBlock(content, fence.language, onInsert));
    else if (content.trim()) elements.push(made("p", "prose", ...inline(content.replace(/^\n+|\n+$/g, ""))));
    lines = [];
  };
  for (const line of text.split("\n")) {
    const [, mark = "", language = ""] = FENCE.exec(line) ?? [];
    if (mark && (fence ? mark.startsWith(fence.mark) && !language : true)) {
      flush();
      fence = fence ? null : { mark, language };
    } else {
      lines.push(line);
    }
  }
  if (fence || lines.length) flush();
  return elements;
}

function inline(text: string): (Node | string)[] {
  return text.split(new RegExp(INLINE_CODE, "g")).map((part, index) => (index % 2 ? made("code", "", part) : part));
}

function codeBlock(code: string, fence: string, onInsert: (code: string) => void): HTMLElement {
  const language = languageOfFence(fence);
  const content = made("code");
  if (language) {
    const tree = language.support().language.parser.parse(code);
    highlightCode(
      code,
      tree,
      classHighlighter,
      (part, classes) => content.append(classes ? made("span", classes, part) : part),
      () => content.append("\n"),
    );
  } else {
    content.append(code);
  }
  const copy = button("Copy", "quiet", async () => {
    await navigator.clipboard.writeText(code);
    copy.textContent = "Copied";
  });
  const head = made("div", "block-head", made("span", "", language?.name ?? (fence || "Code")));
  if (window.isSecureContext) head.append(copy); // elsewhere browsers have no clipboard
  head.append(button("Insert", "quiet", () => onInsert(code)));
  const scrolled = made("pre", "", content);
  scrolled.tabIndex = 0; // it may be wider than the pane
  return made("div", "block", head, scrolled);
}
