/** Numbers, units and times as people read them: by hand, since the first formatter of `Intl` takes a browser 30 ms, a quarter of a first visit. */

/** A number's digits in groups of three. */
const grouped = (text: string): string => text.replace(/^-?\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));
const whole = (n: number): string => grouped(String(Math.round(n)));
/** So many digits that say something, without zeros behind them. */
function digits(n: number, most: number): string {
  const text = String(Number(n.toPrecision(most)));
  return text.includes("e-") ? Number(text).toFixed(12).replace(/\.?0+$/, "") : grouped(text);
}
const two = (n: number): string => digits(n, 2);
const three = (n: number): string => digits(n, 3);

/** Counts are exact: 8,412,330. */
export const count = (n: number): string => whole(n);

/** `1 alert`, `2 alerts`. */
export const many = (n: number, one: string, more = `${one}s`): string => `${count(n)} ${n === 1 ? one : more}`;

/** Three digits are what a measured value is good for: 0.0123, 4.57, 913. */
export const rough = (n: number): string => (Math.abs(n) >= 1000 ? whole(n) : three(n));

const PREFIXES = ["", "k", "M", "G", "T", "P"];
function scaled(n: number, unit: string): string {
  let step = 0;
  while (Math.abs(n) >= 999.5 && step < PREFIXES.length - 1) {
    n /= 1000;
    step += 1;
  }
  return `${three(n)} ${PREFIXES[step]}${unit}`;
}
export const bytes = (n: number): string => scaled(n, "B");
export const bps = (n: number): string => scaled(n, "bit/s");

export const percent = (share: number): string =>
  share > 0.999 && share < 1 ? "over 99.9 %" : share > 0.9 && share <= 0.999 ? `${(Math.floor(share * 1000) / 10).toFixed(1)} %` : share > 0 && share < 0.001 ? "under 0.1 %" : `${(share < 0.1 ? two : three)(share * 100)} %`;

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
  if (seconds < 1) return `${three(seconds * 1000)} ms`;
  if (seconds < 120) return `${(seconds < 10 ? three : whole)(seconds)} s`;
  const minutes = seconds / 60;
  if (minutes < 120) return `${whole(minutes)} min`;
  const hours = minutes / 60;
  return hours < 48 ? `${whole(hours)} h` : `${whole(hours / 24)} days`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const padded = (n: number): string => String(n).padStart(2, "0");
const minute = (at: Date): string => `${padded(at.getHours())}:${padded(at.getMinutes())}`;
const clock = (at: Date): string => `${minute(at)}:${padded(at.getSeconds())}`;
const date = (at: Date): string => `${at.getDate()} ${MONTHS[at.getMonth()]}`;
const day = (at: Date): string => `${date(at)} ${at.getFullYear()}`;

/** In the browser's zone; the day is left out where it is today. */
export function time(iso: string, now = new Date()): string {
  const at = new Date(iso);
  return at.toDateString() === now.toDateString() ? clock(at) : `${day(at)}, ${clock(at)}`;
}

/** The end of a time that began then: the day stands once. */
export function until(from: string, to: string): string {
  return new Date(from).toDateString() === new Date(to).toDateString() ? clock(new Date(to)) : time(to);
}

/** Instants (seconds since 1970) along an axis: the day where it begins, seconds where they differ. */
export function instants(ticks: number[]): string[] {
  const step = (ticks[1] ?? 0) - (ticks[0] ?? 0);
  let [last, before] = ["", ""];
  return ticks.map((tick) => {
    const at = new Date(tick * 1000);
    const today = date(at);
    const text = step > 0 && step < 60 ? clock(at) : step >= 86_400 ? today : minute(at);
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
