// The line below a pane that says what its last answer took.
import { made } from "./dom.ts";
import type { Took } from "./generation.ts";

/** Writes the line; without an answer, what will be there. */
export function showTiming(list: HTMLElement, took?: Took): void {
  const rows: [string, string, string?][] = [
    ["First text", took?.firstTextMs == null ? "" : milliseconds(took.firstTextMs)],
    ["Tokens/s", took?.tokensPerS?.toFixed(1) ?? ""],
    ["Prompt", took?.promptTokens?.toString() ?? "", took?.cachedTokens ? `${took.cachedTokens} cached` : ""],
    ["Answer", took?.answerTokens?.toString() ?? "", took?.finishReason === "length" ? "cut" : ""],
    ["Model", took?.model ?? "", took && took.version !== took.model ? took.version : ""],
    ["Request", took?.requestId ?? ""],
  ];
  list.replaceChildren(
    ...rows.map(([name, value, more]) => {
      const shown = made("dd", "", value || "–", ...(more ? [" ", made("small", "", more)] : []));
      shown.title = more ? `${value} (${more})` : value;
      return made("div", `timing-${name.toLowerCase().replace(/\W/g, "-")}`, made("dt", "", name), shown);
    }),
  );
}

function milliseconds(value: number): string {
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}
