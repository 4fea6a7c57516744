/** The small parts that pages are made of. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Severity } from "../api/client";
import type { Loaded } from "../data";
import { ago, kind, party, time, until, utc } from "../format";
import { link } from "../url";

/** Colour is never the only sign: the word stands beside it, and the shape differs. */
export function SeverityBadge({ severity }: { severity: Severity }) {
  return <span class={`badge ${severity}`}>{severity}</span>;
}

/** What may be wider or longer than its place: it scrolls by keyboard too. */
export const scroll = { class: "scroll", tabIndex: 0, role: "group", "aria-label": "Table" } as const;

/** A time in the browser's zone; UTC on hover. */
export function Time({ at, relative = false }: { at: string | null | undefined; relative?: boolean }) {
  if (at === null || at === undefined) return <span class="quiet">–</span>;
  return (
    <time dateTime={at} title={utc(at)}>
      {time(at)}
      {relative && <span class="quiet"> ({ago(at)})</span>}
    </time>
  );
}

/** From then to then, the day once; how long ago the end is. */
export function Range({ from, to, relative = false }: { from: string; to: string; relative?: boolean }) {
  return (
    <>
      <Time at={from} /> to <time dateTime={to} title={utc(to)}>{until(from, to)}</time>
      {relative && <span class="quiet"> ({ago(to)})</span>}
    </>
  );
}

const ADDRESS = /^[0-9a-f:.]+$/i;
/** An address as a link to its host; what is no address (a MAC, `*`, a network) as text. */
export function Address({ of, inside, capture }: { of: string | null | undefined; inside?: boolean | null | undefined; capture?: string | undefined }) {
  const where = inside === undefined || inside === null ? undefined : inside ? "inside" : "outside";
  const isAddress = typeof of === "string" && ADDRESS.test(of) && !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(of);
  return (
    <span class="address">
      {isAddress ? <a href={link(`/hosts/${encodeURIComponent(of)}`, { capture })}>{of}</a> : <span>{party(of)}</span>}
      {where !== undefined && <small class="quiet"> {where}</small>}
    </span>
  );
}

export function AlertName({ type, id }: { type: string; id: string }) {
  return <a href={link(`/alerts/${id}`)}>{kind(type)}</a>;
}

/** What a page shows while it has no data; the data's part otherwise. An error beside old data is said above it. */
export function Shown<T>({ of, children, rows = 3 }: { of: Loaded<T>; children: (data: T) => ComponentChildren; rows?: number }) {
  const { data, error } = of;
  // To ask again gives the same where it is not there or not allowed.
  const isFinal = error !== undefined && [400, 403, 404].includes(error.status);
  return (
    <>
      {error !== undefined && <Trouble title={error.status === 403 ? "Not allowed" : error.title} detail={error.message} retry={isFinal ? undefined : of.reload} />}
      {data !== undefined ? children(data) : error === undefined && <Skeleton rows={rows} />}
    </>
  );
}

export function Trouble({ title, detail, retry }: { title: string; detail: string; retry?: (() => void) | undefined }) {
  return (
    <div class="trouble" role="alert">
      <strong>{title}</strong> <span>{detail}</span>
      {retry !== undefined && <button onClick={retry}>Try again</button>}
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

function Skeleton({ rows }: { rows: number }) {
  return (
    <div class="skeleton" aria-busy="true" aria-label="Loading">
      {Array.from({ length: rows }, (_, n) => <div key={n} />)}
    </div>
  );
}

/** A part of a page under its heading. */
export function Panel({ title, more, children, id }: { title: string; more?: ComponentChildren; children: ComponentChildren; id?: string }) {
  return (
    <section class="panel" {...(id === undefined ? {} : { id })}>
      <header>
        <h2>{title}</h2>
        {more}
      </header>
      {children}
    </section>
  );
}

/** Names and values. */
export function Facts({ of, wide = false }: { of: [string, ComponentChildren][]; wide?: boolean }) {
  return (
    <dl class={wide ? "facts wide" : "facts"}>
      {of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A message that goes after a while, with a way back. */
export type Note = { text: string; undo?: () => void; bad?: boolean };
export function Toast({ note, close }: { note: Note | undefined; close: () => void }) {
  useEffect(() => {
    if (note === undefined) return;
    const timer = setTimeout(close, 10_000);
    return () => clearTimeout(timer);
  }, [note]);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {note !== undefined && (
        <div class={note.bad === true ? "toast bad" : "toast"}>
          {note.text}
          {note.undo !== undefined && <button onClick={note.undo}>Undo (u)</button>}
          <button class="plain" aria-label="Close" onClick={close}>×</button>
        </div>
      )}
    </div>
  );
}

/** A dialog that holds the focus; Escape closes it. */
export function Dialog({ title, close, children }: { title: string; close: () => void; children: ComponentChildren }) {
  const [element, set] = useState<HTMLDialogElement | null>(null);
  useEffect(() => {
    if (element !== null && !element.open) element.showModal();
  }, [element]);
  return (
    <dialog ref={set} onClose={close} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </dialog>
  );
}

/** A row of choices, one of which holds. */
export function Choice<T extends string>({ name, value, options, choose }: { name: string; value: T; options: [T, string][]; choose: (value: T) => void }) {
  return (
    <div class="choice" role="group" aria-label={name}>
      {options.map(([option, text]) => (
        <button key={option} aria-pressed={option === value} onClick={() => choose(option)}>
          {text}
        </button>
      ))}
    </div>
  );
}
