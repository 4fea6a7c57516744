/** What stands around every page: where one can go, and whether what is shown is of now. */
import type { ComponentChildren } from "preact";
import { useLocation } from "preact-iso";
import { useEffect, useRef } from "preact/hooks";
import { role } from "../api/client";
import { connection, health, missed } from "../live";
import { PAGES, ROOT, link } from "../url";
import { next, theme } from "./theme";

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
  const nav = useRef<HTMLElement>(null);
  const title = PAGES.find(([page]) => page === here)?.[1] ?? "nta";
  useEffect(() => {
    document.title = `${title} · nta`;
    // On a phone the names of the pages scroll to the side.
    const [pages, current] = [nav.current, nav.current?.querySelector<HTMLElement>("[aria-current]")];
    if (pages != null && current != null) pages.scrollLeft = current.offsetLeft - pages.offsetLeft - 60;
  }, [title]);
  return (
    <>
      <a class="skip" href="#main">Skip to the page</a>
      <header class="top">
        <a class="brand" href={link("")}>nta</a>
        <nav aria-label="Pages" ref={nav}>
          {PAGES.map(([page, name]) => (
            <a key={page} href={link(page)} {...(page === here ? { "aria-current": "page" as const } : {})}>{name}</a>
          ))}
        </nav>
        <Pulse />
        {role.value !== "admin" && role.value !== undefined && <span class="quiet" title="What this token may do">{role.value}</span>}
        <button class="plain" onClick={next} title="Light, dark, or as the system has it">Theme: {theme.value}</button>
      </header>
      <main id="main" tabIndex={-1}>{children}</main>
    </>
  );
}
