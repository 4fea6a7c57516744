/** What is shown of a sensor in the list and on its own page. */
import type { Sensor } from "../api/client";
import { ago, count, duration, many, rough } from "../format";

/** How it is; the word stands beside the colour, and the shape differs. */
export function StateBadge({ state }: { state: Sensor["state"] }) {
  return <span class={`badge ${{ ok: "good", degraded: "medium", silent: "critical" }[state]}`}>{state}</span>;
}

/** Since when it says nothing, what it complains of, what it was asked to do and does not yet. */
export function Reasons({ of }: { of: Sensor }) {
  const said = [
    ...(of.state === "silent" ? [`heard of last ${ago(of.last_seen)}`] : []),
    ...of.reasons,
    ...(of.asked !== null && of.asked.version !== of.settings ? [`settings: asked ${count(of.asked.version)}, follows ${count(of.settings)}`] : []),
  ];
  return said.length === 0 ? null : <ul class="reasons">{said.map((one) => <li key={one}>{one}</li>)}</ul>;
}

/** How far what is here is behind what happens. */
export function Lag({ of }: { of: Sensor }) {
  if (of.lag_s === null) return <span class="quiet">nothing is here yet</span>;
  return of.lag_s < 60 ? <>{duration(Math.round(of.lag_s))}</> : <span class={of.lag_s < 300 ? "" : "bad"}>{duration(Math.round(of.lag_s))} behind</span>;
}

export function Complete({ of }: { of: Sensor }) {
  return <span class={of.lost > 0 || of.missing.length > 0 ? "bad reason" : ""}>{of.completeness}</span>;
}

/** Its clock against the server's; what the way takes is in it. */
export function Clock({ of }: { of: Sensor }) {
  const skew = Math.abs(of.clock_skew_s);
  if (skew < 1) return <span class="quiet">the same</span>;
  return <span class="bad">{skew < 10 ? `${rough(skew)} s` : duration(skew)} {of.clock_skew_s > 0 ? "ahead" : "behind"}</span>;
}

/** The newest log of each name; a sensor that got a new database has others before. */
export function newest(logs: Sensor[]): Sensor[] {
  const names = new Set<string>();
  return logs.filter(({ name }) => !names.has(name) && names.add(name));
}

/** `3 sensors: 1 silent, 2 ok`. */
export function counted(sensors: Sensor[]): string {
  const states = (["silent", "degraded", "ok"] as const).map((state) => [sensors.filter((one) => one.state === state).length, state] as const);
  return `${many(sensors.length, "gateway")}: ${states.filter(([n]) => n > 0).map(([n, state]) => `${count(n)} ${state}`).join(", ")}`;
}

/** How a value went, without axes: what it is now stands beside it. */
export function Spark({ values }: { values: number[] }) {
  if (values.length < 2) return null;
  const most = Math.max(...values, 10);
  const points = values.map((value, n) => `${((n / (values.length - 1)) * 78 + 1).toFixed(1)},${(17 - (value / most) * 15).toFixed(1)}`);
  return <svg class="spark" viewBox="0 0 80 18" aria-hidden="true"><polyline points={points.join(" ")} /></svg>;
}
