// Everything of the state is in the URL: links show the same, back goes back.
import { assert, done, go, open, settled } from "./driver.mjs";

const page = await open();
await go(page, "/dashboard/alerts");
await page.getByRole("button", { name: "All", exact: true }).click();
await page.waitForURL(/status=all/);
await page.getByLabel("medium").check();
await page.waitForURL(/severity=medium/);
const filtered = page.url();
await page.locator("table.alerts a[href*='/alerts/']").first().click();
await page.waitForURL(/\/alerts\/[0-9a-f]+$/);
await page.waitForSelector("text=Who says so");
await page.goBack();
await page.waitForURL(filtered);
assert.ok(await page.getByLabel("medium").isChecked());
await page.goBack();
assert.ok(!(await page.getByLabel("medium").isChecked()));

// The same address in another browser.
const other = await open();
await other.goto(filtered);
await settled(other);
assert.ok(await other.getByLabel("medium").isChecked());
assert.equal(await other.locator("table.alerts tbody tr").count(), await (async () => { await page.goto(filtered); await settled(page); return page.locator("table.alerts tbody tr").count(); })());
for (const path of ["/dashboard/nowhere", "/dashboard/assets/none.js"]) assert.equal((await fetch(new URL(path, page.url()))).status, 404, path);
// What leads nowhere leaves the other pages reachable.
for (const path of ["/dashboard/nowhere", "/dashboard/why?host=10.0.0.1&at=x", "/dashboard/hosts/%25", "/dashboard/alerts/%3Cscript%3E"]) {
  const lost = await open({ allowed: ["404", "400"] });
  await lost.goto(new URL(path, page.url()).href);
  await lost.getByRole("link", { name: "Overview" }).first().click();
  await lost.waitForSelector("text=Accounting");
  assert.deepEqual(lost.problems, [], path);
}
await done(page, other);
