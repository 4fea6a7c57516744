// The overview stays open while its network is attacked and its daemon killed: all that happens appears without a navigation.
// Argument: milliseconds from an attack's begin until it has to stand there. It writes `ready` and reads what comes: the kind of
// an attack, `kill` or `end`. It answers `watching`, and `shown` with the milliseconds that it took; `stale` after a kill.
import { createInterface } from "node:readline";
import { api, args, assert, done, go, open, settled, until } from "./driver.mjs";

const within_ms = Number(args[0]);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const page = await open({ allowed: ["ERR_", "503", "Failed to load"] });
let navigations = 0;
await go(page, "/dashboard");
page.on("framenavigated", () => (navigations += 1));
assert.match(await page.innerText("main .state h1"), /^Nothing needs you/);

const names = { port_scan: "Port scan", udp_flood: "UDP flood" };
/** Attacker, victim and measured value of the alert stand on the page, and the counts are the API's. */
async function isShown(kind) {
  const alerts = (await api("/api/alerts?status=open&limit=1000")).body?.items ?? [];
  const alert = alerts.find((one) => one.type === kind);
  if (alert === undefined) return false;
  const text = (await page.innerText("main .state")).replace(/\s+/g, " ");
  const measured = new Intl.NumberFormat("en", Math.abs(alert.why.observed) >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 }).format(alert.why.observed);
  const wanted = [names[kind], alert.source, alert.destination, alert.why.summary, `Measured ${measured} ${alert.why.unit}`];
  const counts = await page.locator(".counts a b").allInnerTexts();
  const severities = ["critical", "high", "medium", "low"];
  return wanted.every((part) => text.includes(part.replace(/\s+/g, " ")))
    && severities.every((severity, n) => counts[n] === String(alerts.filter((one) => one.severity === severity).length));
}

for (;;) {
  await page.waitForSelector(".pulse.good");
  await settled(page);
  console.log("ready");
  const { value: line } = await lines.next();
  if (line === "end") break;
  if (line === "kill") {
    await page.waitForSelector("text=stale");
    console.log("stale");
    continue;
  }
  const began = Date.now();
  console.log("watching");
  await until(`${line} within ${within_ms} ms`, () => isShown(line), within_ms);
  console.log(`shown ${Date.now() - began}`);
}
assert.equal(navigations, 0, "navigations");
await done(page);
process.stdin.destroy();
