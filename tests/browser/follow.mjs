// A capture that somebody else sends, and the job that reads it, appear on open pages by the stream; nothing is asked for in silence.
// Argument: a capture.
import { readFile } from "node:fs/promises";
import { api, args, assert, base, done, go, open, until } from "./driver.mjs";

const [captures, system] = [await open(), await open()];
await go(captures, "/dashboard/captures");
await go(system, "/dashboard/system");
for (const page of [captures, system]) await page.waitForSelector(".pulse.good");
assert.equal(await captures.locator("tbody tr").count(), 0);
const asked = () => captures.asked.filter((url) => url.includes("/api/captures")).length;
const before = asked();

const sent = await fetch(`${base}/api/upload?name=sent-by-another.pcap`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: await readFile(args[0]) });
const { file_id: id } = await sent.json();
const row = captures.locator("tbody tr", { hasText: "sent-by-another.pcap" });
await row.waitFor();
await until("it is analysed on the page", async () => (await row.innerText()).includes("analysed"));
const stored = (await api(`/api/captures/${id}`)).body;
assert.ok((await row.innerText()).includes(new Intl.NumberFormat("en").format(stored.packets)));
await system.locator("section.panel", { hasText: "Jobs" }).locator("tbody tr", { hasText: "analyse" }).filter({ hasText: "done" }).waitFor();
assert.ok(asked() - before <= 4, `${asked() - before} requests for three events`);
await done(captures, system);
