// Triage by keyboard alone changes the store: move, acknowledge, undo, note, resolve, mute, and all that match.
import { api, assert, done, go, open, until } from "./driver.mjs";

const alert = async (id) => (await api(`/api/alerts/${id}`)).body;
const page = await open();
await go(page, "/dashboard/alerts");
const id = (await page.locator("tr.at a[href*='/alerts/']").first().getAttribute("href")).split("/").pop();
assert.equal((await alert(id)).status, "open");

// A filter that was just chosen leaves the keys to the list.
for (const checked of [true, false]) await page.getByLabel("critical", { exact: true }).setChecked(checked);
await page.waitForSelector(`tr.at a[href$="${id}"]`);
await page.keyboard.press("e");
await until("acknowledged", async () => (await alert(id)).status === "acknowledged");
await page.waitForSelector(".toast");
await page.keyboard.press("u");
await until("undone", async () => (await alert(id)).status === "open");
await page.waitForFunction((of) => document.querySelector(`tr.at a[href$="${of}"]`) !== null, id);

await page.keyboard.press("n");
await page.waitForSelector("dialog textarea");
await page.keyboard.type("seen at the desk");
await page.keyboard.press("Tab");
await page.keyboard.press("Enter");
await until("the note", async () => (await alert(id)).notes.some((note) => note.note === "seen at the desk"));

const closed = () => page.waitForFunction(() => document.querySelector("dialog") === null);
await closed();
await page.keyboard.press("u");
await until("the note is taken back", async () => (await alert(id)).notes.length === 0);
await page.waitForSelector("text=The note is taken back");

await page.keyboard.press("m");
await page.waitForSelector("dialog input");
await page.waitForFunction(() => document.querySelector("dialog")?.innerText.includes("would have hidden"));
await page.locator("dialog input[maxlength]").focus();
await page.keyboard.type("a test of ours");
await page.keyboard.press("Enter");
const mute = await until("the mute", async () => (await api("/api/mutes")).body.items.find((one) => one.reason === "a test of ours"));
assert.deepEqual(mute.types, [(await alert(id)).type]);

await closed();
await page.keyboard.press("u");
await until("the mute is over", async () => (await api("/api/mutes")).body.items.every((one) => one.id !== mute.id || one.state !== "active"));

await page.keyboard.press("r");
await until("resolved", async () => (await alert(id)).status === "resolved");
await page.waitForSelector(".toast >> text=is resolved");
await page.keyboard.press("u");
await until("not resolved any more", async () => (await alert(id)).status === "open");
await page.waitForFunction((of) => document.querySelector(`tr.at a[href$="${of}"]`) !== null, id);
await page.keyboard.press("r");
await until("resolved again", async () => (await alert(id)).status === "resolved");
// It leaves the list of what is open, and stands in the other.
await until("it is not among the open ones", async () => (await page.locator(`a[href$="${id}"]`).count()) === 0);
await go(page, "/dashboard/alerts?status=resolved");
assert.equal(await page.locator(`a[href$="${id}"]`).count(), 1);

await page.getByRole("button", { name: "All that match…" }).click();
await page.getByRole("button", { name: /^Reopen/ }).click();
await until("open again", async () => (await alert(id)).status === "open");
await go(page, `/dashboard/alerts/${id}`);
await page.getByRole("button", { name: "False alarm" }).click();
await until("the verdict", async () => (await alert(id)).verdict === "false_positive");
await done(page);
