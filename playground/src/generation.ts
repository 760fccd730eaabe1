// One streamed answer of the OpenAI routes, and what it took.
import { postStreamed } from "./api.ts";

/** What an answer took, as far as it came. Times are this browser's: they have the way there and back in them. */
export interface Took {
  firstTextMs: number | null;
  tokensPerS: number | null;
  promptTokens: number | null;
  cachedTokens: number;
  answerTokens: number | null;
  model: string;
  version: string;
  requestId: string;
  finishReason: string | null;
}

interface Chunk {
  id: string;
  model: string;
  system_fingerprint: string;
  choices: { text?: string; delta?: { content?: string }; finish_reason: string | null }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details: { cached_tokens: number };
  } | null;
}

/** Asks a route for an answer and hands its text on as it comes. One that `signal` stops is no error. */
export async function generate(
  path: string,
  body: object,
  signal: AbortSignal,
  onText: (text: string) => void,
): Promise<Took> {
  const started = performance.now();
  let first: number | null = null;
  let last = started;
  const took: Took = {
    firstTextMs: null,
    tokensPerS: null,
    promptTokens: null,
    cachedTokens: 0,
    answerTokens: null,
    model: "",
    version: "",
    requestId: "",
    finishReason: null,
  };
  const streamed = { ...body, stream: true, stream_options: { include_usage: true } };
  try {
    for await (const chunk of postStreamed<Chunk>(path, streamed, signal)) {
      took.model = chunk.model;
      took.version = chunk.system_fingerprint;
      took.requestId = chunk.id.replace(/^(chatcmpl|cmpl)-/, "");
      for (const choice of chunk.choices) {
        const text = choice.text ?? choice.delta?.content ?? "";
        if (text) {
          last = performance.now();
          first ??= last;
          onText(text);
        }
        took.finishReason = choice.finish_reason ?? took.finishReason;
      }
      if (chunk.usage) {
        took.promptTokens = chunk.usage.prompt_tokens;
        took.cachedTokens = chunk.usage.prompt_tokens_details.cached_tokens;
        took.answerTokens = chunk.usage.completion_tokens;
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (first !== null) took.firstTextMs = first - started;
  if (first !== null && took.answerTokens && last > first) {
    took.tokensPerS = ((took.answerTokens - 1) / (last - first)) * 1000;
  }
  return took;
}
