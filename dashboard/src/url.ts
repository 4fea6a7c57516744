/** The state of a page is in its URL: a link shows the same, and back undoes. */
import { useLocation } from "preact-iso";

export const ROOT = "/dashboard";

export const PAGES: [string, string][] = [
  ["", "Overview"],
  ["/alerts", "Alerts"],
  ["/hosts", "Hosts"],
  ["/flows", "Flows"],
  ["/captures", "Captures"],
  ["/fleet", "Fleet"],
  ["/why", "Why not?"],
  ["/learned", "Baselines & models"],
  ["/system", "System"],
];

/** A path of the dashboard with parameters; those that are empty are left out. */
export function link(path: string, query: Record<string, string | number | null | undefined> = {}): string {
  const given = Object.entries(query).filter((entry): entry is [string, string | number] => entry[1] !== undefined && entry[1] !== null && entry[1] !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `${ROOT}${path}${text === "" ? "" : `?${text}`}`;
}

/** The upload whose rows have this sensor; `undefined` of what was seen on the network. */
export const captureOf = (sensor: string | null | undefined): string | undefined => (sensor?.startsWith("capture-") ? sensor.slice("capture-".length) : undefined);

/** What is no encoding stands for itself. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The parameters of the page, and how to change some of them. */
export function useParams(): [Record<string, string>, (changes: Record<string, string | undefined>, replace?: boolean) => void] {
  const { path, query, route } = useLocation();
  const change = (changes: Record<string, string | undefined>, replace = false) => {
    const next = new URLSearchParams(query);
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined || value === "") next.delete(name);
      else next.set(name, value);
    }
    const text = next.toString();
    route(`${path}${text === "" ? "" : `?${text}`}`, replace);
  };
  return [query, change];
}
