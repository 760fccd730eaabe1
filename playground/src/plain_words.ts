// What is said when something did not work: what it is, and what to do about it.
import { ApiError } from "./api.ts";

/** Whether the service ended it because a newer request came. */
export function isSuperseded(error: unknown): boolean {
  return hasCode(error, "superseded");
}

/** Whether it failed for want of a key. */
export function needsKey(error: unknown): boolean {
  return hasCode(error, "unauthenticated");
}

/** Sentences for the person in front of the page. */
export function plainWords(error: unknown): string {
  if (!(error instanceof ApiError)) return "The service does not answer. Check that it runs and that you can reach it.";
  switch (error.code) {
    case "unauthenticated":
      return "The service did not accept that without a valid key. Enter one under “API key”, at the top.";
    case "rate_limit_exceeded":
      return `A limit is reached: ${error.message}`;
    case "overloaded":
      return `The service is busy: ${error.message}`;
    case "unavailable":
      return `No group answers for this model yet. It may be loading; the table below shows when it is ready.`;
    case "deadline_exceeded":
      return "The answer took longer than the service allows. Try again, or ask for less.";
    case "context_length_exceeded":
      return `That is too long for the model. ${error.message}`;
    default:
      return error.message;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof ApiError && error.code === code;
}
