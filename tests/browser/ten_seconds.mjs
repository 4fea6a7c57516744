// Within ten seconds an operator knows: attacker, victim, kind, since when, measured and usual or threshold, next step.
// Arguments: what has to stand on the first screen, each a regular expression; `!` before it: what must not.
import { args, assert, base, done, go, open } from "./driver.mjs";

const page = await open();
await go(page, "/");
// What is seen without a click or a turn of the wheel.
const text = await page.evaluate(() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = [];
  while (walker.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const box = range.getBoundingClientRect();
    if (box.height > 1 && box.top < innerHeight && box.bottom > 0) seen.push(walker.currentNode.textContent);
  }
  return seen.join(" ").replace(/\s+/g, " ");
});
for (const wanted of args) {
  const isAbsent = wanted.startsWith("!");
  const found = new RegExp(isAbsent ? wanted.slice(1) : wanted, "i").test(text);
  assert.equal(found, !isAbsent, `${wanted} on the first screen of ${base}:\n${text}`);
}
await done(page);
