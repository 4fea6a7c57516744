// A gateway ships over a line that is cut and comes back; pages of the server and of the gateway say so. Arguments: the gateway's address,
// the port of the line. It writes `empty` before any gateway ships and waits for a line; then `cut`, `silent` and `complete`.
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { api, args, assert, base, done, go, open, until } from "./driver.mjs";

const [gateway, port] = args;
const ends = new Set();
let line;
/** Between gateway and server. */
function lay() {
  line = createServer((one) => {
    const other = connect(Number(new URL(base).port), "127.0.0.1");
    for (const [end, far] of [[one, other], [other, one]]) {
      ends.add(end);
      end.pipe(far);
      end.on("error", () => far.destroy()).on("close", () => ends.delete(end));
    }
  });
  return new Promise((done) => line.listen(Number(port), "127.0.0.1", done));
}
function cut() {
  line.close();
  for (const end of ends) end.destroy();
}

const seconds = (text) => Number(/([\d,]+) (s|min)\b/.exec(text)?.[1]?.replace(",", "") ?? NaN) * (/\bmin\b/.test(text) ? 60 : 1);
const began = Date.now();
const took = () => `${Math.round((Date.now() - began) / 1000)} s after the begin`;

await lay();
const fleet = await open();
const own = await open();
await go(fleet, "/dashboard/fleet");
await fleet.getByText("nta-daemon tokens create --role sensor").waitFor();
console.log("empty");
await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next();

const row = fleet.locator("table.fleet tbody tr", { hasText: "gw-paris" });
const cell = (name) => row.locator(`td[data-name="${name}"]`).innerText();
await row.locator(".badge.good").waitFor();
await until("a complete log", async () => /^1…\d+ complete, none double$/.test(await cell("Log")));
assert.ok(seconds(await cell("Lag")) < 30, await cell("Lag"));
await own.goto(`${gateway}/dashboard/system`);
await own.locator("#shipping", { hasText: "well" }).waitFor();

cut();
console.log(`cut ${took()}`);
const lags = [];
await until("a lag that grows", async () => {
  lags.push(seconds(await cell("Lag")));
  return lags.at(-1) >= lags[0] + 15;
});
// The gateway says it of itself, goes on, and keeps what it cannot send.
await own.locator("#shipping .reason").waitFor();
await own.locator(".pulse.bad", { hasText: "degraded" }).waitFor();
const status = async () => (await (await fetch(`${gateway}/api/status`)).json()).shipping;
const shipping = await status();
assert.match(shipping.trouble, /takes nothing/);
assert.ok(shipping.pending > 0 && shipping.pending_since !== null, JSON.stringify(shipping));
// A minute without a word.
await until("the gateway stands out as silent", async () => (await row.locator(".badge.critical").count()) === 1, 120_000);
assert.match(await row.innerText(), /silent[\s\S]*heard of last \d+ \w+ ago/);
assert.match(await fleet.innerText(".sums"), /1 gateway: 1 silent/);
console.log(`silent ${took()}, lag ${await cell("Lag")}`);

await lay();
await until("it is well again", async () => (await row.locator(".badge.good").count()) === 1, 90_000);
await until("nothing is missing", async () => /^1…\d+ complete, none double$/.test(await cell("Log")) && seconds(await cell("Lag")) < 30, 60_000);
await until("the gateway says so", async () => (await status()).trouble === null && (await own.locator("#shipping", { hasText: "well" }).count()) === 1);
// Every packet that the gateway's windows have is here.
await until("the same packets", async () => {
  const there = (await (await fetch(`${gateway}/api/metrics/summary`)).json()).packets;
  const here = (await api("/api/sensors/gw-paris")).body;
  return there > 0 && here.packets === there && here.is_complete;
});

// What it is asked for on its page it does.
await fleet.getByRole("link", { name: "gw-paris" }).click();
await fleet.getByLabel("Flows").selectOption("yes");
await fleet.getByRole("button", { name: "Ask for it" }).click();
await fleet.getByText("It follows what was asked last (1).").waitFor();
await until("flows of it", async () => (await api("/api/flows?sensor=gw-paris&from=0")).body.items.length > 0);
await fleet.getByRole("link", { name: "Its flows" }).click();
await fleet.locator("h1", { hasText: "Flows of gw-paris" }).waitFor();
console.log(`complete ${took()}`);
cut();
own.asked = own.asked.filter((url) => !url.startsWith(gateway));
await done(fleet, own);
process.stdin.destroy();
