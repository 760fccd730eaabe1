// Requests to the service that this page is from, with the key of this tab.
import { currentKey } from "./key.ts";
import { eventData } from "./events.ts";

/** What the service refused, or did not finish. `code` is one of docs/errors.md, in lower case. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

interface ErrorBody {
  error?: { code?: string; message?: string };
}

const session = `playground-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;

async function ask(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("x-session-id", session); // a newer completion ends an older one
  const key = currentKey();
  if (key) headers.set("authorization", `Bearer ${key}`);
  const response = await fetch(new URL(path, document.baseURI), { ...init, headers, cache: "no-store" });
  if (!response.ok) throw refusal(await response.json().catch(() => ({})), response.status);
  return response;
}

function refusal(body: ErrorBody, status: number): ApiError {
  const { code, message } = body.error ?? {};
  return new ApiError(code ?? "unknown", message ?? `The service answered with the status ${status}.`);
}

/** What a route says. */
export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await ask(path, signal ? { signal } : {})).json();
}

/** The events of a streamed answer; those of errors are thrown. */
export async function* postStreamed<T>(path: string, body: object, signal: AbortSignal): AsyncGenerator<T> {
  const headers = { "content-type": "application/json" };
  const response = await ask(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  if (!response.body) return;
  for await (const data of eventData(response.body)) {
    if (data === "[DONE]") return;
    const event: unknown = JSON.parse(data);
    if ((event as ErrorBody).error) throw refusal(event as ErrorBody, response.status);
    yield event as Awaited<T>;
  }
}
