/** Whether the network is well; if not, who does what to whom, since when, how unusual it is, and what to do. */
import { useRef } from "preact/hooks";
import type { Alert, Baseline, Host, Severity, Status, Window } from "../api/client";
import { askStatus, client, taken } from "../api/client";
import { useLoad } from "../data";
import { ago, bps, bytes, count, duration, kind, many, measured, party } from "../format";
import { alertTick, connection, health, systemTick, windowTick } from "../live";
import { Bars, Chart, type Band, type Line, type Mark } from "../ui/chart";
import { Address, AlertName, Choice, Empty, Facts, Panel, Range, SeverityBadge, Shown, Time } from "../ui/parts";
import { captureOf, link, useParams } from "../url";

const SEVERITIES: Severity[] = ["critical", "high", "medium", "low"];
/** Lower ones can wait: a sentence that cries for each is not read. */
const NEEDS: Severity[] = ["critical", "high", "medium"];
const SHOWN = 3;
/** The worst open alerts that are loaded; all of them are counted. */
const WORST = 50;
/** Hosts and services that are named. */
const TOP = 8;

type Open = { items: Alert[]; counts: Record<Severity, number> };

export function Overview() {
  const alerts = useLoad("open", async (signal): Promise<Open> => {
    const query = { status: ["open" as const] };
    const [list, { by_severity }] = await Promise.all([
      taken(client.GET("/api/alerts", { params: { query: { ...query, limit: WORST, sort: "-severity" } }, signal })),
      taken(client.GET("/api/alerts/counts", { params: { query }, signal })),
    ]);
    return { items: list.items, counts: by_severity as Open["counts"] };
  }, [alertTick]);
  const status = useLoad("status", askStatus, [windowTick, systemTick]);
  return (
    <>
      <Shown of={alerts} rows={2}>
        {(open) => <State open={open} status={status.data} />}
      </Shown>
      <Shown of={status} rows={5}>
        {(of) => <>
          <Traffic alerts={alerts.data?.items ?? []} isReplay={of.mode === "replay"} />
          <div class="columns">
            <TopHosts />
            <TopServices isReplay={of.mode === "replay"} />
          </div>
          <Accounting of={of} />
        </>}
      </Shown>
    </>
  );
}

function State({ open, status }: { open: Open; status: Status | undefined }) {
  const urgent = open.items.filter((alert) => NEEDS.includes(alert.severity));
  const by = (severity: Severity) => open.counts[severity] ?? 0;
  const urgents = Math.max(urgent.length, NEEDS.reduce((sum, severity) => sum + by(severity), 0));
  const troubles = health.value !== undefined && health.value.status !== "ok" ? (health.value.reasons ?? [health.value.reason ?? "the daemon is not well"]) : [];
  const running = status?.analysis?.state === "running";
  const findings = status?.detection?.findings;
  const isOld = connection.value === "waiting" || health.value === undefined && connection.value !== "connecting";
  const well = urgent.length === 0 && troubles.length === 0 && !isOld;
  return (
    <section class={`state ${well ? "well" : (urgent[0]?.severity ?? "medium")}`} aria-label="State">
      <h1>{isOld && "Not known: the daemon does not answer. Before that: "}{sentence(urgent[0], urgents, troubles.length, by("low"), running)}</h1>
      {troubles.map((reason) => <p key={reason} class="reason bad">{reason}</p>)}
      <ul class="counts" aria-label="Open alerts by severity">
        {SEVERITIES.map((severity) => (
          <li key={severity} class={by(severity) === 0 ? "none" : ""}>
            <a href={link("/alerts", { severity, status: "open" })}><b>{count(by(severity))}</b> <SeverityBadge severity={severity} /></a>
          </li>
        ))}
        {findings !== undefined && (
          <li class="quiet">{many(findings, "finding")} since the start{set_aside(status)}</li>
        )}
      </ul>
      {urgent.length > 0 && <div class="urgents">{urgent.slice(0, SHOWN).map((alert) => <Urgent key={alert.id} alert={alert} />)}</div>}
      {urgents > SHOWN && <p><a href={link("/alerts", { status: "open" })}>and {many(urgents - SHOWN, "more open alert")}</a></p>}
    </section>
  );
}

/** What became no alert since somebody asked for that; nothing where nothing did. */
function set_aside(status: Status | undefined): string {
  const { muted = 0, allowed = 0 } = status?.detection ?? {};
  return `${muted > 0 ? `, ${count(muted)} muted` : ""}${allowed > 0 ? `, ${count(allowed)} allowed` : ""}`;
}

function sentence(first: Alert | undefined, urgents: number, troubles: number, minor: number, running: boolean): string {
  const rest = minor === 0 ? "" : ` ${count(minor)} low ${minor === 1 ? "alert" : "alerts"} can wait.`;
  const soFar = running ? " so far; the capture is still read" : "";
  if (first === undefined) return troubles === 0 ? `Nothing needs you${soFar}.${rest}` : "The analyzer itself needs you.";
  const others = urgents === 1 ? "" : ` and ${count(urgents - 1)} more`;
  const self = troubles === 0 ? "" : " So does the analyzer itself.";
  return `${kind(first.type)} ${of(first)}${others} need${urgents === 1 ? "s" : ""} you${soFar}.${self}${rest}`;
}

function of(alert: Alert): string {
  const by = alert.source === null || alert.source === undefined ? "" : ` by ${party(alert.source)}`;
  return alert.destination === null || alert.destination === undefined ? by.trim() : `against ${party(alert.destination)}${by}`;
}

/** An alert as far as one decides by it: who, whom, since when, how much, what next. */
function Urgent({ alert }: { alert: Alert }) {
  const { why } = alert;
  return (
    <article class="urgent" aria-label={kind(alert.type)}>
      <h2><SeverityBadge severity={alert.severity} /> <AlertName type={alert.type} id={alert.id} /></h2>
      <p class="summary">{why.summary}</p>
      <Facts
        of={[
          ["Attacker", <Source of={alert} />],
          ["Victim", <Address of={alert.destination} inside={alert.destination_inside} />],
          ["Since", <Since of={alert} />],
          ["Measured", <><b>{measured(why.observed, why.unit)}</b> <Usual of={alert} /></>],
          ["Next", why.recommendation],
        ]}
      />
    </article>
  );
}

/** Since when, and until when if it is over. */
function Since({ of }: { of: Alert }) {
  const from = of.first_seen ?? of.window_start;
  if (of.state !== "cleared") return <Time at={from} relative />;
  return <><Range from={from} to={of.last_seen ?? of.window_end} relative />, over</>;
}

export function Source({ of }: { of: Alert }) {
  if (of.source === "*") return <>many addresses; {/flood|amplification|reflection/.test(of.type) ? "they may be forged: do not block them one by one" : "see the contributors"}</>;
  return <Address of={of.source} inside={of.source_inside} capture={captureOf(of.sensor)} />;
}

export function Usual({ of }: { of: Alert }) {
  const { why } = of;
  return (
    <span class="quiet">
      {why.expected === null || why.expected === undefined ? "" : `usual ${measured(why.expected, why.unit)}, `}
      reported from {measured(why.threshold, why.unit)} on
    </span>
  );
}

const RANGES: ["900" | "3600" | "21600" | "86400" | "604800", string][] = [["900", "15 min"], ["3600", "1 h"], ["21600", "6 h"], ["86400", "1 day"], ["604800", "7 days"]];
/** The stored length of windows that gives a chart at most some hundred points. */
const SPANS: [number, string][] = [[3600, "10"], [21_600, "30"], [86_400, "180"], [Infinity, "3600"]];
const PROTOCOLS = ["tcp", "udp", "icmp"];

/** What time is shown, as the address has it. */
function useShown() {
  const [params, change] = useParams();
  const range = RANGES.find(([value]) => value === params["range"])?.[0] ?? "3600";
  const zoomed = params["from"] !== undefined && params["to"] !== undefined;
  return { params, change, range, zoomed };
}

function Traffic({ alerts, isReplay }: { alerts: Alert[]; isReplay: boolean }) {
  const { params, change, range, zoomed } = useShown();
  const key = `traffic ${isReplay} ${range} ${params["from"] ?? ""} ${params["to"] ?? ""}`;
  const windows = useLoad(key, async (signal) => {
    const now = Date.now();
    const query = zoomed
      ? { from: params["from"] as string, to: params["to"] as string, span: span((Date.parse(params["to"] as string) - Date.parse(params["from"] as string)) / 1000) }
      : isReplay ? await replayed(signal) : { from: new Date(now - Number(range) * 1000).toISOString(), span: span(Number(range)) };
    return taken(client.GET("/api/metrics", { params: { query: { ...query, limit: 1000, sort: "time" } }, signal }));
  }, zoomed ? [] : [windowTick]);
  const first = windows.data?.items[0];
  const last = windows.data?.items.at(-1);
  const minute = (iso: string | undefined) => iso?.slice(0, 16);
  // What is usual changes by the hour, and of now with each window: once a minute is enough.
  const usual = useLoad(`usual ${minute(first?.start)} ${minute(last?.end)}`, async (signal) => {
    if (first === undefined || last === undefined) return undefined;
    const { items } = await taken(client.GET("/api/baselines", { params: { query: { type: "bandwidth", usual_from: first.start, usual_to: last.end } }, signal }));
    return items[0]?.metrics.find((metric) => metric.metric === "bandwidth");
  });
  const kept = useRef<typeof usual.data>(undefined);
  kept.current = usual.data ?? kept.current;
  const bandwidth = kept.current;
  const zoom = (from: number, to: number) => change({ from: new Date(from * 1000).toISOString(), to: new Date(to * 1000).toISOString() });
  const chosen = isReplay || zoomed ? undefined : <Choice name="Time shown" value={range} options={RANGES} choose={(value) => change({ range: value === "3600" ? undefined : value })} />;
  const back = zoomed ? <button onClick={() => change({ from: undefined, to: undefined })}>All of the time</button> : undefined;
  return (
    <Panel title="Traffic by protocol" more={chosen ?? back}>
      <Shown of={windows} rows={5}>
        {(list) => {
          const drawn = series(list.items, alerts, bandwidth?.usual ?? []);
          return <>
            <Chart label={`Traffic by protocol over time, ${alerts.length} open alerts marked`} times={drawn.times} lines={drawn.lines} band={drawn.band} marks={drawn.marks} stacked unit={bps} zoom={zoom} />
            {bandwidth !== undefined && <Learning of={bandwidth} band={drawn.band} />}
          </>;
        }}
      </Shown>
    </Panel>
  );
}

/** Where there is no band, what is usual is not learned yet: that is said. */
function Learning({ of, band }: { of: Learned; band: Band | undefined }) {
  if (band !== undefined && band.low.every((value) => value !== null)) return null;
  const begun = `${count(of.samples)} windows are learned, and ${of.hours_known} of the 168 hours of the week are known`;
  return <p class="quiet">{band === undefined ? "Warming up: what is usual is not known yet." : "Where there is no band, that hour of the week is still warming up."} {begun}.</p>;
}

const span = (seconds: number): string => (SPANS.find(([most]) => seconds <= most) as [number, string])[1];

/** A replay's time is the capture's. */
async function replayed(signal: AbortSignal): Promise<{ span?: string; from?: string | undefined; to?: string | undefined }> {
  const { time_span: time } = await taken(client.GET("/api/metrics/summary", { signal }));
  return time === null || time === undefined ? {} : { from: time.from ?? undefined, to: time.to ?? undefined, span: time.seconds <= 1800 ? "5" : span(time.seconds) };
}

type Learned = Baseline["metrics"][number];
/** Three deviations: what the detectors call usual. */
const DEVIATIONS = 3;

function series(windows: Window[], alerts: Alert[], usual: Learned["usual"]): { times: number[]; lines: Line[]; band: Band | undefined; marks: Mark[] } {
  windows = broken(windows);
  const times = windows.map((window) => Date.parse(window.start) / 1000);
  const rate = (window: Window, bytes: number) => (bytes * 8) / Math.max(window.span_s, 1);
  const of = (window: Window, name: string) => window.protocols.filter((part) => part.protocol === name || (name === "icmp" && part.protocol === "ipv6-icmp")).reduce((sum, part) => sum + part.bytes, 0);
  const lines: Line[] = PROTOCOLS.map((name) => ({ name: name.toUpperCase(), colour: `--${name}`, values: windows.map((window) => rate(window, of(window, name))) }));
  lines.push({
    name: "other", colour: "--other",
    values: windows.map((window) => rate(window, Math.max(0, window.bytes - PROTOCOLS.reduce((sum, name) => sum + of(window, name), 0)))),
  });
  const slots = usual.map((slot) => ({ ...slot, from: Date.parse(slot.from) / 1000, to: Date.parse(slot.to) / 1000 }));
  const expected = times.map((time) => slots.findLast((slot) => slot.from <= time && time < slot.to));
  const band = expected.every((slot) => slot === undefined) ? undefined : {
    name: "usual",
    low: expected.map((slot) => slot === undefined ? null : Math.max(0, slot.median - DEVIATIONS * slot.sigma)),
    high: expected.map((slot) => slot === undefined ? null : slot.median + DEVIATIONS * slot.sigma),
  };
  const marks = alerts.map((alert) => ({ at: Date.parse(alert.first_seen ?? alert.window_start) / 1000, text: kind(alert.type), colour: `--${alert.severity}` }));
  return { times, lines, band, marks };
}

/** Where windows are missing a line must not join what lies before and behind: a window without counts stands there. */
function broken(windows: Window[]): Window[] {
  return windows.flatMap((window, n) => {
    const before = windows[n - 1];
    const gap_ms = before === undefined ? 0 : Date.parse(window.start) - Date.parse(before.end);
    if (before === undefined || gap_ms <= 1000 * Math.max(before.span_s, window.span_s)) return [window];
    const nothing = (at: number) => ({ ...window, start: new Date(at).toISOString(), bytes: 0, protocols: [] });
    return [nothing(Date.parse(before.end)), nothing(Date.parse(window.start) - 1), window];
  });
}

function TopHosts() {
  const hosts = useLoad("top hosts", async (signal) => taken(client.GET("/api/hosts", { params: { query: { limit: TOP, sort: "-bytes" } }, signal })), [windowTick]);
  return (
    <Panel title="Top hosts" more={<a href={link("/hosts")}>all</a>}>
      <Shown of={hosts}>
        {({ items }) => items.length === 0 ? <Empty>No host was seen yet.</Empty> : (
          <Bars unit={bytes} of={items.map((host: Host) => ({ name: host.address, value: host.bytes_sent + host.bytes_received, href: link(`/hosts/${encodeURIComponent(host.address)}`) }))} />
        )}
      </Shown>
    </Panel>
  );
}

function TopServices({ isReplay }: { isReplay: boolean }) {
  const { params, range, zoomed } = useShown();
  const key = `top services ${isReplay} ${range} ${params["from"] ?? ""} ${params["to"] ?? ""}`;
  const services = useLoad(key, async (signal) => {
    const query = zoomed ? { from: params["from"] as string, to: params["to"] as string } : isReplay ? {} : { from: new Date(Date.now() - Number(range) * 1000).toISOString() };
    return taken(client.GET("/api/services", { params: { query }, signal }));
  }, zoomed ? [] : [windowTick]);
  return (
    <Panel title="Top services" more={services.data?.from != null && <small class="quiet">since <Time at={services.data.from} /></small>}>
      <Shown of={services}>
        {({ items }) => items.length === 0 ? <Empty>No flow was seen in this time.</Empty> : (
          <Bars unit={bytes} of={items.slice(0, TOP).map((one) => ({ name: one.service, value: one.bytes }))} />
        )}
      </Shown>
    </Panel>
  );
}

/** Every packet has a place: what that cost. */
function Accounting({ of }: { of: Status }) {
  const { total, balanced } = of.ledger;
  const lost = of.interfaces.reduce((sum, interface_) => sum + (interface_.nic?.rx_dropped ?? 0), 0);
  return (
    <Panel title="Accounting" more={<a href={link("/system")}>by reason</a>}>
      <p class="ledger">
        <b>{count(total.seen)}</b> packets seen, {balanced ? <b>0 unaccounted</b> : <b class="bad">some unaccounted</b>}
        {of.mode !== "replay" && <>, {count(lost)} dropped by interfaces</>}
      </p>
      <p class="quiet">
        {of.interfaces.length > 0 && <>Captures {of.interfaces.map((interface_) => interface_.name).join(", ")}. </>}
        {count(of.flows_active)} flows active of {count(of.flows_total)}. Own cost: {duration(of.process.cpu_s ?? 0)} of processor time in {duration(of.uptime_s)}, {bytes(of.process.rss_bytes ?? 0)} of memory.
        {of.last_window_end !== null && of.last_window_end !== undefined && <> Last window {of.mode === "replay" ? <Time at={of.last_window_end} /> : ago(of.last_window_end)}.</>}
      </p>
    </Panel>
  );
}
