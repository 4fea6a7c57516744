/** The one place that asks the daemon. Types come from its OpenAPI document. */
import { signal } from "@preact/signals";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type Alert = Schemas["AlertItem"];
export type AlertDetail = Schemas["AlertDetail"];
export type Anomaly = Schemas["AnomalyItem"];
export type Window = Schemas["WindowItem"];
export type Status = Schemas["StatusPage"];
export type Baseline = Schemas["BaselineJson"];
export type Host = Schemas["HostJson"];
export type Flow = Schemas["FlowItem"];
export type Sensor = Schemas["SensorJson"];
export type Problem = Schemas["Problem"];
export type Severity = Schemas["Severity"];
export type Role = "viewer" | "operator" | "admin";

export const client = createClient<paths>({ baseUrl: "" });

/** True once the daemon answered that it wants a token that this browser has not shown. */
export const needsToken = signal(false);

/** What this browser may do. Buttons go by it; who enforces it is the daemon. */
export const role = signal<Role | undefined>(undefined);
export const may = (needed: Role): boolean => RANKS.indexOf(role.value ?? "viewer") >= RANKS.indexOf(needed);
const RANKS: Role[] = ["viewer", "operator", "admin"];

/** An answer that is none: what the daemon said, or that it said nothing. */
export class Refused extends Error {
  readonly status: number;
  readonly title: string;
  constructor(status: number, title: string, detail: string) {
    super(detail);
    this.status = status;
    this.title = title;
  }
}

type Answered<T> = { data?: T; error?: unknown; response: Response };

/** The data of an answer; throws `Refused` otherwise. */
export async function taken<T>(asked: Promise<Answered<T>>): Promise<T> {
  let answer: Answered<T>;
  try {
    answer = await asked;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refused(0, "No answer", "The daemon does not answer. It may be stopped, or the network is away.");
  }
  const { data, error, response } = answer;
  if (response.ok) return data as T;
  if (response.status === 401) needsToken.value = true;
  const problem = (typeof error === "object" && error !== null ? error : {}) as Partial<Problem>;
  throw new Refused(response.status, problem.title ?? response.statusText, problem.detail ?? `The daemon answered ${response.status}.`);
}

/** The answer to the first question after the page was opened, for whom asks next. */
let first: Promise<Status> | undefined;
const KEPT_MS = 1000;

/** How the daemon is; also what this browser may do. */
export function askStatus(signal?: AbortSignal): Promise<Status> {
  const kept = first;
  first = undefined;
  return kept ?? taken(client.GET("/api/status", signal === undefined ? {} : { signal }));
}

/** Asks for the first time: a page that shows the same takes this answer. */
export async function begin(): Promise<void> {
  first = taken(client.GET("/api/status"));
  try {
    role.value = (await first).access.role ?? "viewer";
  } catch {
    // The page shows what is wrong by itself, and a viewer's part of it.
  }
  setTimeout(() => (first = undefined), KEPT_MS);
}

/** `/api/flows` answers lines or a list, `/report` a page or JSON; asked without `Accept` these are list and JSON. */
export const flowList = async (asked: Promise<Answered<unknown>>) => (await taken(asked)) as Schemas["List_FlowItem"];
export const reportJson = async (asked: Promise<Answered<unknown>>) => (await taken(asked)) as Schemas["CaptureReport"];
