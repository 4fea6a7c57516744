// What every script here uses: a page in Chromium that fails on any error of its own, and the API beside it.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const modules = createRequire(fileURLToPath(new URL("../../dashboard/package.json", import.meta.url)));
const { chromium } = modules("playwright-core");
export const axe = modules.resolve("axe-core/axe.min.js");
export const [base, ...args] = process.argv.slice(2);
export { assert };

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** Longest wait for something that has to come; slow machines get there too. */
export const DEADLINE_MS = 30_000;

let browser;
/** A page of its own session; `allowed` are messages of the console that the script expects. */
export async function open({ theme = "light", width = 1280, height = 900, allowed = [], ...options } = {}) {
  browser ??= await chromium.launch({ executablePath: process.env.NTA_CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, timezoneId: "UTC", locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  page.problems = [];
  page.asked = [];
  page.on("pageerror", (error) => page.problems.push(String(error.stack ?? error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !allowed.some((text) => message.text().includes(text))) page.problems.push(message.text());
  });
  page.on("request", (request) => page.asked.push(request.url()));
  return page;
}

/** Opens a path of the dashboard and waits until nothing of it is loading. */
export async function go(page, path) {
  await page.goto(base + path);
  await settled(page);
}

export async function settled(page) {
  await page.waitForSelector("main h1, main .state");
  await page.waitForFunction(() => document.querySelector("[aria-busy]") === null);
}

/** The answer of the API. */
export async function api(path, { token, method = "GET", body } = {}) {
  const headers = { ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }), ...(body === undefined ? {} : { "Content-Type": "application/json" }) };
  const response = await fetch(base + path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  return { status: response.status, body: await response.json().catch(() => undefined) };
}

/** Waits until a condition holds; says what did not come. */
export async function until(what, holds, deadline_ms = DEADLINE_MS) {
  const end = Date.now() + deadline_ms;
  for (;;) {
    const found = await holds();
    if (found) return found;
    assert.ok(Date.now() < end, `did not come: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Ends the script: no page may have had an error, or have asked another host. */
export async function done(...pages) {
  for (const page of pages) {
    assert.deepEqual(page.problems, []);
    const others = page.asked.filter((url) => !url.startsWith(base) && !url.startsWith("blob:") && !url.startsWith("data:"));
    assert.deepEqual(others, [], "requests to other hosts");
  }
  await browser?.close();
}
