/** What stands around every page: where one can go, and whether what is shown is of now. */
import type { ComponentChildren } from "preact";
import { useLocation } from "preact-iso";
import { useEffect } from "preact/hooks";
import { connection, health, missed } from "../live";
import { ROOT, link } from "../url";
import { next, theme } from "./theme";

const PAGES: [string, string][] = [
  ["", "Overview"],
  ["/alerts", "Alerts"],
  ["/hosts", "Hosts"],
  ["/flows", "Flows"],
  ["/captures", "Captures"],
  ["/why", "Why not?"],
  ["/learned", "Baselines & models"],
  ["/system", "System"],
];

function Pulse() {
  const now = health.value;
  if (connection.value === "waiting" || now === undefined)
    return <span class="pulse bad" role="status">{connection.value === "connecting" ? "connecting…" : `stale: ${now === undefined ? "the daemon does not answer" : "no events come, they are asked for again"}`}</span>;
  if (now.status === "ok") return <span class="pulse good" role="status">{now.mode === "replay" ? "replay" : "live"}{missed.value > 0 && `, ${missed.value} events missed`}</span>;
  return <span class="pulse bad" role="status">{now.status}</span>;
}

export function Frame({ children }: { children: ComponentChildren }) {
  const { path } = useLocation();
  const at = path.replace(/\/$/, "");
  const here = PAGES.filter(([page]) => page !== "" && at.startsWith(ROOT + page)).at(-1)?.[0] ?? "";
  const title = PAGES.find(([page]) => page === here)?.[1] ?? "nta";
  useEffect(() => {
    document.title = `${title} · nta`;
  }, [title]);
  return (
    <>
      <a class="skip" href="#main">Skip to the page</a>
      <header class="top">
        <a class="brand" href={link("")}>nta</a>
        <nav aria-label="Pages">
          {PAGES.map(([page, name]) => (
            <a key={page} href={link(page)} {...(page === here ? { "aria-current": "page" as const } : {})}>{name}</a>
          ))}
        </nav>
        <Pulse />
        <button class="plain" onClick={next} title="Light, dark, or as the system has it">theme: {theme.value}</button>
      </header>
      <main id="main" tabIndex={-1}>{children}</main>
    </>
  );
}
