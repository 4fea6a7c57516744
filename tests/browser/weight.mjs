// What a first visit loads, packed: at most 120 kB, from this host alone, under a policy without anything inline.
import { assert, base, done, open, settled } from "./driver.mjs";

const MOST_BYTES = 120_000;
const page = await open();
const session = await page.context().newCDPSession(page);
await session.send("Network.enable");
const urls = new Map();
let bytes = 0;
const parts = [];
session.on("Network.responseReceived", ({ requestId, response }) => urls.set(requestId, response.url));
session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
  bytes += encodedDataLength;
  parts.push(`${encodedDataLength} ${urls.get(requestId)}`);
});
const answer = await page.goto(`${base}/`);
await settled(page);
await page.waitForLoadState("load");
const policy = answer.headers()["content-security-policy"];
assert.ok(policy.startsWith("default-src 'none'") && !policy.includes("unsafe"), policy);
assert.ok(bytes > 0 && bytes <= MOST_BYTES, `${bytes} bytes:\n${parts.join("\n")}`);
await done(page);
