// The licences of the packages that are in the bundle, as they ask for.
import { readdirSync, readFileSync } from "node:fs";

/** One text: of each package that has a file among `inputs` (paths below `root`) its name, version and licence. */
export function licences(root, inputs) {
  const packages = inputs.map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
  return [...new Set(packages)]
    .sort()
    .map((name) => {
      const directory = `${root}node_modules/${name}/`;
      const { version, license } = JSON.parse(readFileSync(`${directory}package.json`, "utf8"));
      const file = readdirSync(directory).find((entry) => /^licen[cs]e/i.test(entry));
      if (!file) throw new Error(`${name} ${version} (${license}) comes without its licence's text.`);
      return `${name} ${version} (${license})\n\n${readFileSync(directory + file, "utf8").trim()}\n`;
    })
    .join(`\n${"-".repeat(80)}\n\n`);
}
