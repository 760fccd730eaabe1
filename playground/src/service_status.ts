// The service, live: its models, their groups and what waits for them.
import { getJson } from "./api.ts";
import { byId, made } from "./dom.ts";
import { History } from "./history.ts";
import { needsKey, plainWords } from "./plain_words.ts";

const EVERY_MS = 2000;

interface ModelStatus {
  id: string;
  waiting: number;
  max_waiting: number;
  rows_per_group: number;
  min_groups: number;
  max_groups: number;
  groups: { id: string; state: "ready" | "unreachable" | "failed" | "leaving"; requests: number }[];
}

/** Asks every two seconds while somebody can see the page and may ask. */
export class ServiceStatus {
  private readonly health = byId("health");
  private readonly rows = byId("models");
  private readonly notice = byId("service-notice");
  private readonly histories = new Map<string, History>();
  private timer = 0;
  private asking = new AbortController();

  constructor(private readonly onReady: () => void) {
    document.addEventListener("visibilitychange", () => this.start());
  }

  /** Asks now, and from now on. */
  start(): void {
    window.clearTimeout(this.timer);
    this.asking.abort();
    if (document.hidden) return;
    this.asking = new AbortController();
    void this.ask(this.asking.signal);
  }

  private async ask(signal: AbortSignal): Promise<void> {
    try {
      const { models } = await getJson<{ models: ModelStatus[] }>("v1/status", signal);
      this.notice.textContent = "";
      this.show(models);
    } catch (error) {
      if (signal.aborted) return;
      this.rows.replaceChildren();
      this.notice.textContent = plainWords(error);
      this.say(needsKey(error) ? "Key needed" : "No answer", "bad");
      if (needsKey(error)) return; // until there is a key; many failed attempts would lock this address out
    }
    if (!signal.aborted) this.timer = window.setTimeout(() => void this.ask(signal), EVERY_MS);
  }

  private show(models: ModelStatus[]): void {
    const silent = models.filter(({ groups }) => !groups.some(({ state }) => state === "ready"));
    if (!silent.length) {
      if (this.health.dataset.state !== "good") this.onReady();
      this.say("Ready", "good");
    } else if (silent.length < models.length) {
      this.say(`Without ${silent.map(({ id }) => id).join(", ")}`, "uneasy");
    } else {
      this.say("Loading models", "uneasy");
    }
    this.rows.replaceChildren(...models.map((model) => this.row(model)));
  }

  private say(words: string, state: string): void {
    if (this.health.textContent !== words) this.health.textContent = words; // or it is read out again
    this.health.dataset.state = state;
  }

  private row(model: ModelStatus): HTMLElement {
    const requests = model.groups.reduce((sum, group) => sum + group.requests, 0);
    const history = this.histories.get(model.id) ?? new History();
    this.histories.set(model.id, history);
    history.add(requests + model.waiting);
    const name = made("th", "code", model.id);
    name.scope = "row";
    const waiting = made("td", model.waiting ? "number waiting" : "number", `${model.waiting}`);
    waiting.title = `At most ${model.max_waiting}; more are refused. In the Gateway that answered.`;
    return made(
      "tr",
      "",
      name,
      made("td", "", ...groupWords(model)),
      made("td", "", made("div", "groups", ...model.groups.map((group) => groupBar(group.requests, model.rows_per_group)))),
      made("td", "number", `${requests}`),
      waiting,
      made("td", "history", history.drawn()),
    );
  }
}

/** How many groups are ready, of how many; and what is with the others. */
function groupWords({ groups, min_groups, max_groups }: ModelStatus): (Node | string)[] {
  const counted = new Map<string, number>();
  for (const { state } of groups) counted.set(state, (counted.get(state) ?? 0) + 1);
  const ready = counted.get("ready") ?? 0;
  const wanted = Math.max(min_groups, ready);
  const state = ready >= wanted ? "good" : ready ? "uneasy" : "bad";
  const others = [...counted].filter(([name]) => name !== "ready").map(([name, count]) => `, ${count} ${name}`);
  const most = max_groups > wanted ? `, ${max_groups} at most` : "";
  const dot = made("span", "dot");
  dot.dataset.state = state;
  return [dot, `${ready} of ${wanted} ready`, ...others, most];
}

/** A group's requests beside its rows. */
function groupBar(requests: number, rows: number): HTMLElement {
  const used = Math.min(requests, rows);
  const fill = made("span", requests > rows ? "fill full" : "fill");
  fill.style.width = `${(100 * used) / rows}%`;
  const bar = made("span", "track", fill);
  return made("span", "group", bar, made("span", "", `${used}/${rows}`));
}
