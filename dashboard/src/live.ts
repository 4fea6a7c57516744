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
/** Events that come within this time change the page once: a flood of them must not hold it up. */
const TOGETHER_MS = 50;

let cursor: { epoch: string; after: number } | undefined;
let isOpen = false;
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

/** Reads the stream until it ends. An `EventSource` would hand over what comes in a flood one by one, in tasks of a second. */
async function read(): Promise<void> {
  const after = cursor === undefined ? "" : `&after=${cursor.after}&epoch=${encodeURIComponent(cursor.epoch)}`;
  const { ok, body } = await fetch(`/api/events?types=alert,window,run,capture,store,webhook,upload,job${after}`, { headers: { Accept: "text/event-stream" } });
  if (!ok || body === null) return;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const messages = (rest + value).split("\n\n");
    rest = messages.pop() as string;
    messages.forEach(take);
  }
}

/** A message of the stream: lines of `name: value`; one without a type says that the daemon is there. */
function take(message: string): void {
  let [type, id, data] = ["", "", ""];
  for (const line of message.split("\n")) {
    const at = line.indexOf(": ");
    const value = line.slice(at + 2);
    if (line.startsWith("event")) type = value;
    else if (line.startsWith("id")) id = value;
    else if (line.startsWith("data")) data = data === "" ? value : `${data}\n${value}`;
  }
  if (type === "hello") {
    const hello = JSON.parse(data) as { epoch: string; after: number };
    // Another log, or the first answer: what is shown may be old.
    if (cursor !== undefined) everything();
    cursor = { epoch: hello.epoch, after: Math.max(hello.after, cursor?.epoch === hello.epoch ? cursor.after : 0) };
    connection.value = "live";
    wait_ms = 1000;
    tell({ state: "live" });
  } else if (type === "resync" || type === "missed") {
    if (type === "missed") missed.value += (JSON.parse(data) as { events: number }).events;
    everything();
    tell({ resync: true });
  } else if (type === "notice") {
    // Trouble of the store is told at once, before the log can have it.
    systemTick.value += 1;
    void ask();
  } else {
    if (cursor !== undefined && id !== "") cursor.after = Number(id);
    if (type !== "") came(type, data);
  }
}

async function open(): Promise<void> {
  isOpen = true;
  // It breaks off when the daemon ends; the next attempt begins behind the last event.
  await read().catch(() => undefined);
  connection.value = "waiting";
  tell({ state: "waiting" });
  // A session ends with the daemon that opened it: whether a token is wanted now only an answer says.
  void askStatus().catch(() => undefined);
  setTimeout(() => needsToken.value || void open(), wait_ms);
  wait_ms = Math.min(wait_ms * 2, 15_000);
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
  if (navigator.locks === undefined || channel === undefined) return void open();
  channel.onmessage = ({ data }: MessageEvent<Told>) => {
    if (data.state !== undefined) connection.value = data.state;
    if (data.resync === true) everything();
    if (data.happened !== undefined) happened(data.happened);
  };
  // Who gets the lock holds the stream until its tab is closed; the next one goes on with what it lacks by loading anew.
  void navigator.locks.request("nta-events", () => {
    if (connection.value !== "connecting") everything();
    void open();
    return new Promise<void>(() => undefined);
  });
  // Another tab holds the stream: it says so with its next event.
  setTimeout(() => connection.value === "connecting" && !isOpen && (connection.value = "live"), 1500);
}
