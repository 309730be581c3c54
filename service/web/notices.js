import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ALLOWED = new Set(["MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Apache-2.0", "0BSD", "(MIT AND Zlib)", "Zlib"]);
const PACKAGE = /^(.*[/\\]node_modules[/\\](?:@[^/\\]+[/\\])?[^/\\]+)[/\\]/;

/** Writes page/notices.txt: the licence of every package that lies in the bundle. One that is not permissive ends the build. */
export function notices() {
  return {
    name: "notices",
    generateBundle(_options, bundle) {
      const folders = new Set();
      for (const chunk of Object.values(bundle)) {
        for (const id of chunk.type === "chunk" ? chunk.moduleIds : []) {
          const found = PACKAGE.exec(id.replace(/^\0/, ""));
          if (found) folders.add(found[1]);
        }
      }
      const entries = [...folders].map(entry).sort((one, other) => (one.title < other.title ? -1 : 1));
      for (const { title, licence } of entries) {
        if (!ALLOWED.has(licence)) this.error(`${title} is under ${licence}, which the page may not be shipped with`);
      }
      const line = "-".repeat(80);
      const head = "The page of Sigap (Apache-2.0) is built with these packages.\n";
      const text = [head, ...entries.map(({ title, licence, words }) => `${title} (${licence})\n\n${words}\n`)].join(`\n${line}\n`);
      this.emitFile({ type: "asset", fileName: "page/notices.txt", source: text });
    },
  };
}

function entry(folder) {
  const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).sort().find((name) => /^licen[cs]e/i.test(name));
  const words = file ? readFileSync(join(folder, file), "utf8").trim() : `The package brings no text of its licence: ${about.license}.`;
  return { title: `${about.name} ${about.version}`, licence: about.license, words };
}
