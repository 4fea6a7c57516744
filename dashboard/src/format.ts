/** Numbers, units and times as people read them. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const two = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** Counts are exact: 8,412,330. */
export const count = (n: number): string => whole.format(n);

/** `1 alert`, `2 alerts`. */
export const many = (n: number, one: string, more = `${one}s`): string => `${count(n)} ${n === 1 ? one : more}`;

/** Three digits are what a measured value is good for: 0.0123, 4.57, 913. */
export const rough = (n: number): string => (Math.abs(n) >= 1000 ? whole.format(n) : three.format(n));

const PREFIXES = ["", "k", "M", "G", "T", "P"];
function scaled(n: number, unit: string): string {
  let step = 0;
  while (Math.abs(n) >= 999.5 && step < PREFIXES.length - 1) {
    n /= 1000;
    step += 1;
  }
  return `${three.format(n)} ${PREFIXES[step]}${unit}`;
}
export const bytes = (n: number): string => scaled(n, "B");
export const bps = (n: number): string => scaled(n, "bit/s");

export const percent = (share: number): string =>
  share > 0.999 && share < 1 ? "over 99.9 %" : share > 0.9 && share <= 0.999 ? `${(Math.floor(share * 1000) / 10).toFixed(1)} %` : share > 0 && share < 0.001 ? "under 0.1 %" : `${(share < 0.1 ? two : three).format(share * 100)} %`;

/** A measured value with its unit, as alerts have it. */
export function measured(value: number, unit: string): string {
  if (unit === "bit/s") return bps(value);
  if (unit === "bytes" || unit === "B") return bytes(value);
  if (unit === "s") return duration(value);
  if (unit === "1") return percent(value);
  if (unit.startsWith("1/")) return `${rough(value)}${unit.slice(1)}`;
  return `${rough(value)} ${unit}`.trim();
}

export function duration(seconds: number): string {
  if (seconds < 1) return `${three.format(seconds * 1000)} ms`;
  if (seconds < 120) return `${(seconds < 10 ? three : whole).format(seconds)} s`;
  const minutes = seconds / 60;
  if (minutes < 120) return `${whole.format(minutes)} min`;
  const hours = minutes / 60;
  return hours < 48 ? `${whole.format(hours)} h` : `${whole.format(hours / 24)} days`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** In the browser's zone; the day is left out where it is today. */
export function time(iso: string, now = new Date()): string {
  const at = new Date(iso);
  return at.toDateString() === now.toDateString() ? clock.format(at) : `${day.format(at)}, ${clock.format(at)}`;
}

/** The end of a time that began then: the day stands once. */
export function until(from: string, to: string): string {
  return new Date(from).toDateString() === new Date(to).toDateString() ? clock.format(new Date(to)) : time(to);
}

const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** Instants (seconds since 1970) along an axis: the day where it begins, seconds where they differ. */
export function instants(ticks: number[]): string[] {
  const step = (ticks[1] ?? 0) - (ticks[0] ?? 0);
  let [last, before] = ["", ""];
  return ticks.map((tick) => {
    const at = new Date(tick * 1000);
    const today = date.format(at);
    const text = step > 0 && step < 60 ? clock.format(at) : step >= 86_400 ? today : minute.format(at);
    const shown = step >= 86_400 || today === last ? text : `${text}\n${today}`;
    last = today;
    // Ticks closer than what is written would say the same twice.
    const isNew = shown !== before;
    before = text;
    return isNew ? shown : "";
  });
}

/** The same in UTC, for who compares with logs. */
export const utc = (iso: string): string => `${iso.replace("T", " ").replace(/\.\d+/, "").replace("Z", "")} UTC`;

export function ago(iso: string, now = Date.now()): string {
  const seconds = (now - Date.parse(iso)) / 1000;
  return seconds < 0 ? "in the future" : seconds < 5 ? "just now" : `${duration(Math.round(seconds))} ago`;
}

const SHORT = /\b(arp|dga|dns|fin|http|icmp|nd|rst|rtt|ssh|syn|synack|tcp|ttl|udp)(s?)\b/g;
/** `syn_rate` as words. */
export const spelled = (name: string): string => name.replaceAll("_", " ").replace(SHORT, (_all, word: string, plural: string) => word.toUpperCase() + plural);

/** `ssh_brute_force` as words. */
const WORDS: Record<string, string> = {
  ssh_brute_force: "SSH password guessing", brute_force: "Password guessing", arp_spoof: "ARP spoofing", dns_tunnel: "DNS tunnel",
  icmp_tunnel: "ICMP tunnel", dns_flood: "DNS flood", dga: "Generated domain names", syn_flood: "SYN flood", http_flood: "HTTP flood",
  udp_flood: "UDP flood", icmp_flood: "ICMP flood", ack_flood: "ACK flood", rst_flood: "RST flood", synack_reflection: "SYN-ACK reflection",
  rogue_dhcp: "Second DHCP server", rogue_router: "Second router", xgboost: "XGBoost",
};
export function kind(type: string): string {
  const [of, victim] = type.endsWith("_victim") ? [type.slice(0, -"_victim".length), " victim"] : [type, ""];
  const words = (WORDS[of] ?? spelled(of)) + victim;
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** `*` stands for many. */
export const party = (address: string | null | undefined): string =>
  address === "*" ? "many addresses" : (address ?? "nobody in particular");
