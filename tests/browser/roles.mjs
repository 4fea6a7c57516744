// A token is asked for; a viewer cannot do what an operator can. Arguments: tokens of a viewer and of an operator.
import { api, args, assert, done, open, settled } from "./driver.mjs";

const [viewer, operator] = args;
const id = (await api("/api/alerts?limit=1", { token: viewer })).body.items[0].id;
const status = async () => (await api(`/api/alerts/${id}`, { token: viewer })).body.status;

async function enter(token) {
  const page = await open({ allowed: ["401", "403"] });
  await page.goto(new URL(`/dashboard/alerts/${id}`, process.argv[2]).href);
  await page.fill("input[name=token]", "nta_wrong");
  await page.keyboard.press("Enter");
  await page.waitForSelector("[role=alert]");
  await page.fill("input[name=token]", token);
  await page.keyboard.press("Enter");
  await page.waitForSelector("text=Who says so");
  await settled(page);
  // The cookie is no script's.
  assert.equal(await page.evaluate(() => document.cookie), "");
  assert.ok((await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))).includes(token) === false);
  return page;
}

const watching = await enter(viewer);
assert.equal(await watching.getByRole("button", { name: "Acknowledge" }).count(), 0);
// Nor by what a script of its page sends.
const sent = await watching.evaluate((of) => fetch(`/api/alerts/${of}`, { method: "PATCH", headers: { "Content-Type": "application/json" }, body: '{"status":"acknowledged"}' }).then((answer) => answer.status), id);
assert.equal(sent, 403);
await watching.goto(new URL("/dashboard/alerts?status=all", process.argv[2]).href);
await settled(watching);
await watching.keyboard.press("e");
await watching.goto(new URL("/dashboard/system", process.argv[2]).href);
await settled(watching);
assert.equal(await watching.getByText("An administrator sees them.").count(), 2);
assert.equal(await status(), "open");
const acting = await enter(operator);
await acting.getByRole("button", { name: "Acknowledge" }).click();
await acting.waitForSelector("text=Acknowledged.");
assert.equal(await status(), "acknowledged");
await done(watching, acting);
