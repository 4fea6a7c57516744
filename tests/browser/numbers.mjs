// The numbers of each page are the API's.
import { api, assert, base, done, go, open } from "./driver.mjs";

const count = (n) => new Intl.NumberFormat("en").format(n);
const text = async (page) => (await page.innerText("main")).replace(/\s+/g, " ");
const status = (await api("/api/status")).body;
const alerts = (await api("/api/alerts?status=open&limit=1000")).body.items;
const page = await open();

await go(page, "/dashboard");
const overview = await text(page);
// What the page says that it will ask for is what its scripts ask for, once.
const early = (await fetch(`${base}/dashboard`)).headers.get("link").split(", ").map((link) => /^<([^>]*)>; rel=preload; as=fetch/.exec(link)[1]);
assert.ok(early.length >= 3, String(early));
for (const path of early) assert.equal(page.asked.filter((url) => url === base + path).length, 1, `${path} in ${page.asked}`);
const bare = await open({ javaScriptEnabled: false });
await bare.goto(`${base}/dashboard`);
assert.deepEqual(await bare.locator("nav a").allInnerTexts(), await page.locator("nav a").allInnerTexts());
assert.ok(overview.includes(`${count(status.ledger.total.seen)} packets seen`), overview);
assert.equal(status.ledger.balanced, overview.includes("0 unaccounted"));
for (const severity of ["critical", "high", "medium", "low"]) {
  const shown = await page.innerText(`.counts a[href*="severity=${severity}"] b`);
  assert.equal(shown, count(alerts.filter((alert) => alert.severity === severity).length), severity);
}
const hosts = (await api("/api/hosts?limit=8&sort=-bytes")).body.items;
const named = await page.locator("section.panel", { hasText: "Top hosts" }).locator(".bars .name").allInnerTexts();
assert.deepEqual(named, hosts.map((host) => host.address));
const services = (await api("/api/services")).body;
assert.deepEqual(await page.locator("section.panel", { hasText: "Top services" }).locator(".bars .name").allInnerTexts(), services.items.slice(0, 8).map((one) => one.service));
const { from, to } = (await api("/api/metrics/summary")).body.time_span;
const bandwidth = (await api(`/api/baselines?type=bandwidth&usual_from=${from}&usual_to=${to}`)).body.items[0].metrics[0];
assert.deepEqual(bandwidth.usual, [], "too short to learn from");
await page.waitForSelector("text=Warming up: what is usual is not known yet.");

await go(page, "/dashboard/alerts?status=all");
const all = (await api("/api/alerts?limit=1000")).body.items;
assert.equal(await page.locator("table.alerts tbody tr").count(), all.length);
const findings = all.reduce((sum, alert) => sum + 1 + (alert.findings_folded ?? 0), 0);
assert.ok((await text(page)).includes(`${count(findings)} ${findings === 1 ? "finding" : "findings"} in ${count(all.length)} ${all.length === 1 ? "alert" : "alerts"}`), await text(page));

for (const alert of all.slice(0, 3)) {
  await go(page, `/dashboard/alerts/${alert.id}`);
  const shown = await text(page);
  for (const part of [alert.why.summary, alert.why.recommendation, alert.severity]) assert.ok(shown.includes(part.replace(/\s+/g, " ")), `${part} in ${shown}`);
  const flows = (await api(`/api/alerts/${alert.id}/evidence`)).body.flows.length;
  assert.equal(await page.locator("section.panel", { hasText: "Flows behind it" }).locator("tbody tr").count(), Math.min(flows, 100));
}

await go(page, "/dashboard/hosts");
const many = (await api("/api/hosts?limit=100&sort=-bytes")).body.items;
assert.deepEqual(await page.locator("tbody tr td:first-child a").allInnerTexts(), many.map((host) => host.address));

await go(page, "/dashboard/flows?sort=-bytes");
const flows = (await api("/api/flows?limit=200&sort=-bytes")).body.items;
assert.equal(await page.locator("tbody tr").count(), flows.length);
assert.deepEqual(await page.locator("tbody tr td:nth-child(4)").allInnerTexts(), flows.map((flow) => flow.service_name ?? flow.protocol));

await go(page, "/dashboard/system");
assert.ok((await text(page)).includes(`${count(status.ledger.total.seen)} packets seen, ${count(status.ledger.total.flow)} in flows`), await text(page));

await go(page, "/dashboard/learned");
const baselines = (await api("/api/baselines")).body.items.flatMap((baseline) => baseline.metrics);
assert.ok((await page.locator("section.panel", { hasText: "What is usual" }).locator("tbody tr").count()) === baselines.length);
await done(page);
