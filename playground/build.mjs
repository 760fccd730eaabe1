// Builds src/ into the files that the Gateway serves. With --check, fails if the committed files are others.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { licences } from "./licences.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const files = fileURLToPath(new URL("../serving/gateway/http/playground/files/", import.meta.url));

const bundled = await build({
  absWorkingDir: here,
  entryPoints: { playground: "src/main.ts", style: "src/style.css" },
  outdir: files,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome110", "firefox115", "safari16.4"],
  charset: "utf8",
  legalComments: "none", // licences.txt has them
  loader: { ".woff2": "file" },
  assetNames: "[name]",
  metafile: true,
  write: false,
});
const made = new Map(bundled.outputFiles.map(({ path, contents }) => [basename(path), Buffer.from(contents)]));
for (const name of ["index.html", "icon.svg"]) made.set(name, readFileSync(`${here}src/${name}`));
made.set("licences.txt", Buffer.from(licences(here, Object.keys(bundled.metafile.inputs))));

if (process.argv.includes("--check")) {
  const there = existsSync(files) ? readdirSync(files) : [];
  const wrong = [...new Set([...made.keys(), ...there])].filter(
    (name) => !made.has(name) || !there.includes(name) || !made.get(name).equals(readFileSync(files + name)),
  );
  if (wrong.length) {
    console.error(`Not what playground/ gives: ${wrong.join(", ")} in ${files}. Run make playground.`);
    process.exit(1);
  }
} else {
  rmSync(files, { recursive: true, force: true });
  mkdirSync(files, { recursive: true });
  for (const [name, content] of made) {
    writeFileSync(files + name, content);
    console.log(`${name}: ${Math.ceil(content.length / 1024)} KB`);
  }
}
