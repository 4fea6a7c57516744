import { defineConfig } from "vite";

// Assets are named by their content, so that the daemon may let browsers keep them for ever. `npm run dev` shows the page beside a
// daemon that runs: NTA=http://127.0.0.1:5000 npx vite.
export default defineConfig({
  base: "/dashboard/",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false }, reportCompressedSize: true },
  server: { proxy: Object.fromEntries(["/api", "/health", "/upload", "/analysis", "/report", "/stats"].map((path) => [path, process.env["NTA"] ?? "http://127.0.0.1:5000"])) },
});
