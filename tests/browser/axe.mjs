// No violation of accessibility rules, of any impact, on any page, in both themes, on a desk and on a phone.
import { api, assert, axe, done, go, open } from "./driver.mjs";
import { withFleet, withShipping } from "./sensors.mjs";

const id = (await api("/api/alerts?limit=1")).body.items[0]?.id;
const host = (await api("/api/hosts?limit=1")).body.items[0].address;
const paths = ["", "/alerts?status=all", `/alerts/${id}`, "/hosts", `/hosts/${host}`, "/flows", "/captures", "/why", `/why?host=${host}`, "/learned", "/system?level=info", "/fleet"];
// As they are where gateways ship.
const fleet = ["/fleet", "/fleet/gw-oslo", "/fleet/gw-lima", "/system"];
const found = [];
const pages = [];
for (const [theme, width] of [["light", 1280], ["dark", 1280], ["light", 360]]) {
  const page = await open({ theme, width, bypassCSP: true });
  pages.push(page);
  for (const [n, path] of [...paths, ...fleet].entries()) {
    if (n === paths.length) await Promise.all([withFleet(page), withShipping(page)]);
    await go(page, `/dashboard${path}`);
    await page.addScriptTag({ path: axe });
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    for (const violation of violations) found.push(`${theme} ${width} ${path}: ${violation.id} (${violation.impact}): ${violation.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wider > 0) found.push(`${theme} ${width} ${path}: the page is ${wider} pixels wider than the screen`);
  }
}
assert.deepEqual(found, []);
await done(...pages);
