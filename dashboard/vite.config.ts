import { defineConfig, type IndexHtmlTransformContext } from "vite";
import { PAGES, ROOT } from "./src/url";

// What a browser shows until the scripts are read: the names of the pages, and that the rest is loading.
const links = PAGES.map(([page, name]) => `<a href="${ROOT}${page}">${name.replace("&", "&amp;")}</a>`).join("");
const shell = `<header class="top"><a class="brand" href="${ROOT}">nta</a><nav aria-label="Pages">${links}</nav></header>
      <main id="main"><div class="skeleton" aria-busy="true" aria-label="Loading"><div></div><div></div></div></main>`;

/** What the first script reads later, and what that needs: fetched at once. */
function later({ bundle = {} }: IndexHtmlTransformContext) {
  const chunks = Object.values(bundle).filter((file) => file.type === "chunk");
  const entry = chunks.find((chunk) => chunk.isEntry)?.fileName;
  const read = chunks.filter((chunk) => ["app", "uPlot.esm"].includes(chunk.name)).flatMap((chunk) => [chunk.fileName, ...chunk.imports]);
  return [...new Set(read)].filter((file) => file !== entry).map((file) => ({ tag: "link", attrs: { rel: "modulepreload", crossorigin: true, href: `/dashboard/${file}` }, injectTo: "head" as const }));
}

// Assets are named by their content, so that the daemon may let browsers keep them for ever. `npm run dev` shows the page beside a
// daemon that runs: NTA=http://127.0.0.1:5000 npx vite.
export default defineConfig({
  base: "/dashboard/",
  plugins: [{ name: "shell", transformIndexHtml: (html, context) => ({ html: html.replace("<!-- shell -->", shell), tags: later(context) }) }],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: true },
  server: { proxy: Object.fromEntries(["/api", "/health", "/upload", "/analysis", "/report", "/stats"].map((path) => [path, process.env["NTA"] ?? "http://127.0.0.1:5000"])) },
});
