// A capture that is dropped is analysed, and its report opens. Argument: the capture.
import { basename } from "node:path";
import { api, args, assert, done, go, open, until } from "./driver.mjs";

const [capture] = args;
const page = await open();
await go(page, "/dashboard/captures");
await page.setInputFiles("input[type=file]", capture);
await page.waitForURL(/\/captures\/[0-9a-f]+/);
const id = page.url().split("/").pop();
await page.waitForSelector("text=Traffic by protocol");
const report = (await api(`/report/${id}`)).body;
const shown = (await page.innerText("main")).replace(/\s+/g, " ");
const count = (n) => new Intl.NumberFormat("en").format(n);
assert.ok(shown.includes(`${count(report.totals.packets)} packets`) && shown.includes(`${count(report.totals.flows)} flows`), shown);
assert.ok(shown.includes(report.sha256));
for (const threat of report.threats) assert.ok(shown.includes(threat.summary.replace(/\s+/g, " ")), threat.summary);
await go(page, "/dashboard/captures");
await until("it is in the list", async () => (await page.locator(`a[href$="${id}"]`).innerText()) === basename(capture));

// What is no capture is refused with the daemon's reason.
await page.setInputFiles("input[type=file]", { name: "letter.txt", mimeType: "text/plain", buffer: Buffer.from("Dear all,\n".repeat(400)) });
await page.waitForSelector(".drop .bad");
page.problems = page.problems.filter((problem) => !problem.includes("415"));
await done(page);
