// Which models there are, and which of them a pane asks.
import { getJson } from "./api.ts";
import { byId, made } from "./dom.ts";

interface Model {
  id: string;
  roles: string[];
  context_length: number;
}

const AUTOMATIC = "";

/** The choice of a model in one pane. */
export class ModelChoice {
  private readonly select: HTMLSelectElement;

  constructor(
    id: string,
    private readonly role: "fim" | "chat",
  ) {
    this.select = byId<HTMLSelectElement>(id);
    this.show([]);
  }

  /** Fields of a request's body; none leaves the choice to the service, by the request's shape. */
  get fields(): { model?: string } {
    return this.select.value === AUTOMATIC ? {} : { model: this.select.value };
  }

  /** Offers the models that have the pane's role. */
  show(models: Model[]): void {
    const chosen = this.select.value;
    const able = models.filter((model) => model.roles.includes(this.role));
    this.select.replaceChildren(option("Automatic", AUTOMATIC), ...able.map((model) => option(model.id, model.id)));
    this.select.value = able.some((model) => model.id === chosen) ? chosen : AUTOMATIC;
    this.select.title = able.map((model) => `${model.id}: ${model.context_length} tokens of context`).join("\n");
  }
}

/** All models of the service. */
export async function fetchModels(): Promise<Model[]> {
  return (await getJson<{ data: Model[] }>("v1/models")).data;
}

function option(text: string, value: string): HTMLOptionElement {
  const element = made("option", "", text);
  element.value = value;
  return element;
}
