// The daemon is killed and started again: the page says that it is stale, recovers by itself, and nothing is missing.
// It writes `ready` when it follows, `stale` when it noticed; the test answers by a line each time it did its part.
import { createInterface } from "node:readline";
import { api, assert, done, go, open, settled, until } from "./driver.mjs";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const page = await open({ allowed: ["ERR_", "503", "Failed to load"] });
await go(page, "/dashboard/alerts?status=all");
await page.waitForSelector(".pulse.good");
console.log("ready");
await page.waitForSelector("text=stale");
console.log("stale");
await lines.next(); // started again
await page.waitForSelector(".pulse.good");
await settled(page);
const alerts = (await api("/api/alerts?limit=200")).body.items;
await until("all alerts are shown", async () => (await page.locator("table.alerts tbody tr").count()) === alerts.length);
assert.equal(await page.locator(".trouble").count(), 0);
await done(page);
process.stdin.destroy();
