// Pictures of every page, in both themes, at a desk and on a phone. `cargo xtask screenshots` starts the daemons.
// Arguments: the daemon with attacks, the one without, the folder for the pictures, one page alone or nothing, captures to send.
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { api, args, base, done, go, open, until } from "./driver.mjs";
import { withFleet } from "./sensors.mjs";

const [calm, folder, only, ...captures] = args;
/** When it is in the pictures: minutes after the end of the captures. */
const { to } = (await api("/api/metrics/summary")).body.time_span;
const NOW = new Date(Date.parse(to) + 7 * 60_000);
const begun = Date.now() - 600_000;
/** What differs from run to run. */
const SAME = { uptime_s: 754, cpu_s: 4.2, rss_bytes: 98e6, disk_free_bytes: 62e9, database_bytes: 3.1e6, wal_bytes: 4.2e6, last_commit_us: 11_000 };

const STEADY = /\/(api|health|analysis|report)(?!\/(events|stream))/;
/** The daemon's answers with what differs from run to run made the same. */
async function steadily(route) {
  const response = await route.fetch();
  if (!(response.headers()["content-type"] ?? "").includes("json")) return route.fulfill({ response });
  const text = JSON.stringify(await response.json(), (name, value) => {
    if (name in SAME && value !== null) return SAME[name];
    return typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value) && Date.parse(value) > begun && Date.parse(value) < Date.now() + 60_000 ? NOW.toISOString() : value;
  });
  return route.fulfill({ response, body: text });
}

async function picture(page, name) {
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 82 });
  writeFileSync(join(folder, `${name}.webp`), Buffer.from(data, "base64"));
  await session.detach();
}

for (const path of captures.slice(0, 3)) {
  const name = `${basename(path, ".pcap").replace(/-hit$/, "")}.pcap`;
  const { file_id: id } = await fetch(`${base}/api/upload?name=${name}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: readFileSync(path) }).then((answer) => answer.json());
  await until(`the report of ${name}`, async () => (await api(`/analysis/${id}`)).body?.state === "complete" || (await api(`/report/${id}`)).status === 200);
}
const alerts = (await api("/api/alerts?sort=-severity")).body.items;
const flood = alerts.find((alert) => alert.type === "syn_flood");
const guessing = alerts.find((alert) => alert.type === "ssh_brute_force");
const sent = (await api("/api/captures")).body.items;
const scan = sent.find((capture) => capture.name === "port_scan.pcap");
const pages = {
  overview: "/", alerts: "/alerts", alert: `/alerts/${flood.id}`, hosts: "/hosts", host: `/hosts/${guessing.source}`, flows: "/flows?sort=-bytes",
  login: "/", captures: "/captures", capture: `/captures/${scan.file_id}`, why: `/why?host=${flood.destination}&at=${flood.last_seen}`, fleet: "/fleet", sensor: "/fleet/gw-oslo", learned: "/learned", system: "/system",
};

const taken = [];
for (const theme of ["light", "dark"]) {
  for (const [size, width, height] of [["", 1440, 900], ["-phone", 360, 780]]) {
    const page = await open({ theme, width, height, allowed: ["401"], serviceWorkers: "block", reducedMotion: "reduce" });
    taken.push(page);
    await page.clock.setFixedTime(NOW);
    await page.route(STEADY, steadily);
    for (const [name, path] of Object.entries({ ...pages, calm })) {
      if (only !== "" && only !== name) continue;
      if (name === "calm") {
        await page.goto(calm);
        await page.waitForFunction(() => document.querySelector("main h1, main .state") !== null && document.querySelector("[aria-busy]") === null);
      } else {
        const refuse = (route) => route.fulfill({ status: 401, contentType: "application/problem+json", body: '{"title":"Unauthorized","status":401}' });
        if (name === "login") await page.route(/\/api\//, refuse);
        if (name === "fleet" || name === "sensor") await withFleet(page, NOW.getTime());
        await go(page, `/dashboard${path}`);
        if (name === "login") await page.unroute(/\/api\//, refuse);
      }
      if (name !== "login") await page.waitForSelector(".pulse.good");
      await picture(page, `${name}-${theme}${size}`);
      if (name === "sensor") await page.unrouteAll({ behavior: "ignoreErrors" }).then(() => page.route(STEADY, steadily));
    }
  }
}
for (const page of taken) page.asked = page.asked.filter((url) => !url.startsWith(calm));
await done(...taken);
