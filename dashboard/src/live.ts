/**
 * What happens, as the daemon's event log has it. One tab of a browser holds the stream and hands it to the others, as browsers
 * open at most six connections to a host.
 */
import { batch, signal } from "@preact/signals";
import { askStatus, client, needsToken } from "./api/client";

export type Event = { id: number; type: string; time: string; severity: string | null; data: Record<string, unknown> };
export type Health = { status: string; mode: string; version: string; timestamp: string; reason?: string | null; reasons?: string[] };

/** `live`: events come; `waiting`: the daemon does not answer, and is asked again. */
export const connection = signal<"connecting" | "live" | "waiting">("connecting");
export const health = signal<Health | undefined>(undefined);
/** Numbers that grow when something of the kind happened. */
export const alertTick = signal(0);
export const windowTick = signal(0);
export const systemTick = signal(0);
/** Grows every few seconds, for what changes by nothing happening. */
export const clockTick = signal(0);
/** The newest events, the last first. */
export const recent = signal<Event[]>([]);
/** How many events were deleted before they could be read. */
export const missed = signal(0);

const RECENT = 50;
const TYPES = [
  "alert_raised", "alert_changed", "alert_cleared", "alert_handled", "window_closed", "run_begun", "run_ended", "capture_trouble",
  "capture_recovered", "store_trouble", "store_recovered", "webhook_trouble", "webhook_recovered", "upload_received", "job_begun", "job_ended",
];
/** Events that come within this time change the page once: a flood of them must not hold it up. */
const TOGETHER_MS = 50;

let cursor: { epoch: string; after: number } | undefined;
let source: EventSource | undefined;
let wait_ms = 1000;
const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("nta-events") : undefined;

function everything(): void {
  alertTick.value += 1;
  windowTick.value += 1;
  systemTick.value += 1;
}

/** What came together: how many events of each kind, and the newest of those that are shown, the last first. */
type Happened = { alerts: number; windows: number; others: number; newest: Event[] };
const nothing = (): Happened => ({ alerts: 0, windows: 0, others: 0, newest: [] });
let together = nothing();
/** Of those that are shown as they came, the newest last: in a flood most of them are never read. */
let unread: string[] = [];
let flushing: ReturnType<typeof setTimeout> | undefined;

function came(type: string, data: string): void {
  if (type.startsWith("alert_")) together.alerts += 1;
  else if (type === "window_closed") together.windows += 1;
  else together.others += 1;
  // Of a window only that it closed is of interest here.
  if (type !== "window_closed" && unread.push(data) >= 2 * RECENT) unread = unread.slice(-RECENT);
  flushing ??= setTimeout(() => {
    flushing = undefined;
    const all = { ...together, newest: unread.slice(-RECENT).reverse().map((data) => JSON.parse(data) as Event) };
    together = nothing();
    unread = [];
    happened(all);
    tell({ happened: all });
  }, TOGETHER_MS);
}

function happened({ alerts, windows, others, newest }: Happened): void {
  batch(() => {
    alertTick.value += alerts;
    windowTick.value += windows;
    systemTick.value += others;
    if (newest.length > 0) recent.value = [...newest, ...recent.value].slice(0, RECENT);
  });
}

function open(): void {
  const after = cursor === undefined ? "" : `&after=${cursor.after}&epoch=${encodeURIComponent(cursor.epoch)}`;
  source = new EventSource(`/api/events?types=alert,window,run,capture,store,webhook,upload,job${after}`);
  source.addEventListener("hello", (message) => {
    const hello = JSON.parse(message.data) as { epoch: string; after: number };
    // Another log, or the first answer: what is shown may be old.
    if (cursor !== undefined) everything();
    cursor = { epoch: hello.epoch, after: Math.max(hello.after, cursor?.epoch === hello.epoch ? cursor.after : 0) };
    connection.value = "live";
    wait_ms = 1000;
    tell({ state: "live" });
  });
  source.addEventListener("resync", () => {
    everything();
    tell({ resync: true });
  });
  source.addEventListener("missed", (message) => {
    missed.value += (JSON.parse(message.data) as { events: number }).events;
    everything();
    tell({ resync: true });
  });
  // Trouble of the store is told at once, before the log can have it.
  source.addEventListener("notice", () => {
    systemTick.value += 1;
    void ask();
  });
  for (const type of TYPES) {
    source.addEventListener(type, (message) => {
      const { data, lastEventId } = message as MessageEvent<string>;
      if (cursor !== undefined) cursor.after = Number(lastEventId);
      came(type, data);
    });
  }
  source.onerror = () => {
    // A browser's own attempts end at the first answer that is none; ours do not, and begin behind the last event.
    source?.close();
    connection.value = "waiting";
    tell({ state: "waiting" });
    // A session ends with the daemon that opened it: whether a token is wanted now only an answer says.
    void askStatus().catch(() => undefined);
    setTimeout(() => needsToken.value || open(), wait_ms);
    wait_ms = Math.min(wait_ms * 2, 15_000);
  };
}

type Told = { state?: "live" | "waiting"; resync?: boolean; happened?: Happened };
function tell(what: Told): void {
  channel?.postMessage(what);
}

async function ask(): Promise<void> {
  try {
    const { data, error } = await client.GET("/health");
    const before = health.value;
    health.value = (data ?? error) as Health | undefined;
    if (before !== undefined && before.status !== health.value?.status) systemTick.value += 1;
  } catch {
    health.value = undefined;
  }
  clockTick.value += 1;
}

export function follow(): void {
  void ask();
  setInterval(() => document.hidden || void ask(), 5000);
  if (navigator.locks === undefined || channel === undefined) return open();
  channel.onmessage = ({ data }: MessageEvent<Told>) => {
    if (data.state !== undefined) connection.value = data.state;
    if (data.resync === true) everything();
    if (data.happened !== undefined) happened(data.happened);
  };
  // Who gets the lock holds the stream until its tab is closed; the next one goes on with what it lacks by loading anew.
  void navigator.locks.request("nta-events", () => {
    if (connection.value !== "connecting") everything();
    open();
    return new Promise<void>(() => undefined);
  });
  // Another tab holds the stream: it says so with its next event.
  setTimeout(() => connection.value === "connecting" && source === undefined && (connection.value = "live"), 1500);
}
