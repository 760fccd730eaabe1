// The service that `python -m tests.clients` has started, and what its clients ask it.
import { readFileSync } from "node:fs";

export const URL = process.env.CODEGEMMA_URL;
export const GRPC = process.env.CODEGEMMA_GRPC;
export const ASKED = JSON.parse(readFileSync(new globalThis.URL("../asked.json", import.meta.url), "utf8"));
