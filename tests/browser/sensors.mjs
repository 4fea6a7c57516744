// Gateways as a server lists them to whom they ship: one is well, one catches up and was asked something, one says nothing and has lost
// batches. For pages and pictures of a daemon to which none ships.

const before = (now, seconds) => new Date(now - seconds * 1000).toISOString();

function sensor(now, name, { heard = 4, lag = 6, pending = 1, since = 5, watermark, ...further }) {
  return {
    name, epoch: "6f2d9a".padEnd(32, "0"), version: "0.1.0", state: "ok", reasons: [], is_complete: true,
    completeness: `1…${watermark.toLocaleString("en")} complete, none double`, first: 1, watermark, newest: watermark, missing: [], lost: 0, doubles: 0,
    packets: watermark * 8123, lag_s: lag, last_window: before(now, lag), last_seen: before(now, heard), clock_skew_s: 0.021,
    spool: { pending, pending_bytes: pending * 4100, pending_since: before(now, since), processed: watermark, failed: 0 }, settings: 0, asked: null, ...further,
  };
}

const gateways = (now) => [
  sensor(now, "gw-paris", { watermark: 8_412_330 }),
  sensor(now, "gw-oslo", {
    watermark: 211_004, newest: 212_004, lag: 5040, pending: 1000, since: 5040, state: "degraded", is_complete: false, doubles: 64,
    completeness: "1…211,004 complete, none double; 1,000 on the way", reasons: ["interface eth2 is away: it is down"], clock_skew_s: -4.2,
    settings: 2, asked: { version: 3, settings: { flows: true, headers: null, max_bytes_per_s: 250_000 } },
  }),
  sensor(now, "gw-lima", {
    watermark: 90_120, heard: 16 * 60, lag: 16 * 60 + 3, pending: 0, state: "silent", is_complete: false, lost: 12, version: "0.0.9",
    completeness: "1…90,120 incomplete: 12 lost", spool: { pending: 0, pending_bytes: 0, pending_since: null, processed: 90_120, failed: 2 },
  }),
];

/** Has a page see these, each with the traffic of its daemon. */
export async function withFleet(page, now = Date.now()) {
  await page.route(/\/api\/sensors$/, (route) => route.fulfill({ json: { items: gateways(now), next_cursor: null } }));
  await page.route(/\/api\/metrics\?.*sensor=gw-/, async (route) => {
    const url = new URL(route.request().url());
    url.searchParams.delete("sensor");
    return route.fulfill({ response: await route.fetch({ url: url.href }) });
  });
}

/** Has a page see a gateway that has not reached its server for a while. */
export async function withShipping(page, now = Date.now()) {
  await page.route(/\/api\/status$/, async (route) => {
    const response = await route.fetch();
    const shipping = {
      to: "https://nta.example.org:5000", trouble: "https://nta.example.org:5000 takes nothing: the connection was refused; it waits", pending: 87, pending_bytes: 87 * 4100,
      pending_since: before(now, 435), processed: 41_020, failed: 0, given_up: 0, watermark: 41_020, last_answer_at: before(now, 436), last_error_at: before(now, 3),
      last_error: "the connection was refused", settings: 0,
    };
    return route.fulfill({ response, json: { ...(await response.json()), shipping } });
  });
}
