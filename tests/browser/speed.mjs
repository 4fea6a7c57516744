// How fast the dashboard is on a slow processor (throttled four times): a line `name: value` for each figure, in milliseconds, the median of
// RUNS. For each interaction the time to the next paint; while a flood of events comes, the longest task.
import { api, assert, done, go, open, settled, until } from "./driver.mjs";

const RUNS = 5;
const SLOWER = 4;
const FLOOD_MS = 10_000;

/** Before any script of the page: when what is waited for is there, how long events took to the next paint, and long tasks. */
function watch() {
  globalThis.seen = { tasks: [], events: [] };
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => seen.tasks.push(entry.duration))).observe({ type: "longtask", buffered: true });
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => entry.interactionId > 0 && seen.events.push(entry.duration)))
    .observe({ type: "event", durationThreshold: 16, buffered: true });
  new MutationObserver(() => {
    seen.state ??= document.querySelector("main .state h1") === null ? undefined : performance.now();
    seen.data ??= seen.state === undefined || document.querySelector("[aria-busy]") !== null ? undefined : performance.now();
  }).observe(document, { childList: true, subtree: true });
}

const median = (of) => [...of].sort((a, b) => a - b)[Math.floor(of.length / 2)];
const say = (name, values) => console.log(`${name}: ${Math.round(median(values))} ms (${values.map((value) => Math.round(value)).join(", ")})`);

async function slow() {
  const page = await open();
  await page.addInitScript(watch);
  const session = await page.context().newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: SLOWER });
  return page;
}

const first = { paint: [], state: [], data: [] };
for (let run = 0; run < RUNS; run += 1) {
  const page = await slow();
  await go(page, "/dashboard");
  await page.waitForFunction(() => seen.data !== undefined);
  first.paint.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
  for (const name of ["state", "data"]) first[name].push(await page.evaluate((of) => seen[of], name));
  await page.context().close();
}
say("first paint", first.paint);
say("state of the network", first.state);
say("all of the overview", first.data);

const page = await slow();
/** The longest time from an input of `act` to the next paint; none that is reported took less than 16 ms. */
async function interaction(name, act, runs = RUNS) {
  const values = [];
  for (let run = 0; run < runs; run += 1) {
    await page.evaluate(() => (seen.events = []));
    await act(run);
    await settled(page);
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 100))));
    values.push(await page.evaluate(() => Math.max(16, ...seen.events)));
  }
  say(`${name} to next paint`, values);
}
await go(page, "/dashboard/alerts");
await page.waitForSelector("tr.at");
await interaction("j, k", (run) => page.keyboard.press(run % 2 === 0 ? "j" : "k"));
// Once more than the others, so that all alerts are listed again.
await interaction("filter", () => page.getByLabel("high", { exact: true }).click(), RUNS + 1);
await page.waitForSelector("tr.at");
await interaction("order of alerts", (run) => page.getByLabel("order").selectOption(["severity", "score", "time"][run % 3]));
// In a list of choices the keys are the list's.
await page.getByLabel("order").blur();
await interaction("open an alert", async () => {
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL(/alerts\/[0-9a-f]+/);
  await settled(page);
  await page.goBack();
  await page.waitForSelector("tr.at");
});
await interaction("another page", async (run) => {
  await page.getByRole("navigation").getByRole("link", { name: ["Flows", "Hosts", "System", "Overview", "Alerts"][run % 5], exact: true }).click();
});
await go(page, "/dashboard/flows");
await interaction("sort flows", (run) => page.getByRole("button", { name: ["Bytes", "Packets", "Newest"][run % 3], exact: true }).click());

// Thousands of alerts are handled at once, again and again: an event for each.
for (const path of ["/dashboard", "/dashboard/alerts?status=all"]) {
  await go(page, path);
  await page.waitForSelector(".pulse.good");
  await page.evaluate(() => (seen.tasks = []));
  const end = Date.now() + FLOOD_MS;
  let events = 0;
  for (let turn = 0; Date.now() < end; turn += 1) {
    const act = turn % 2 === 0 ? "acknowledge" : "reopen";
    const filter = `from=0&status=${turn % 2 === 0 ? "open" : "acknowledged"}`;
    const { body: would } = await api(`/api/alerts/${act}?${filter}&dry_run=true`, { method: "POST", body: {} });
    const { status, body } = await api(`/api/alerts/${act}?${filter}&expect=${would.count}`, { method: "POST", body: {} });
    assert.equal(status, 200, JSON.stringify(body));
    events += body.count;
  }
  const tasks = await page.evaluate(() => seen.tasks);
  console.log(`longest task of ${path} in a flood of ${Math.round((events * 1000) / FLOOD_MS)} events a second: ${Math.round(Math.max(0, ...tasks))} ms (${tasks.length} over 50 ms)`);
}
await until("the page is live", async () => (await page.locator(".pulse.good").count()) === 1);
await done(page);
