/** What a page loads: kept while it is loaded again, cancelled when the page is left. */
import type { ReadonlySignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Refused } from "./api/client";

export type Loaded<T> = { data?: T; error?: Refused; loading: boolean; reload: () => void };

/** Least time between two loads of the same, however many events come; where a load is slow, three times what it took. */
const PACE_MS = 1500;
/** How soon it is looked again whether a load that is under way has ended. */
const BUSY_MS = 100;

/**
 * Loads again when `key` changes, when `reload` is called and when one of `on` ticks: at once after a silence, else at most every PACE_MS,
 * and never while a load is under way, which would otherwise never end in a flood of events.
 */
export function useLoad<T>(key: string, load: (signal: AbortSignal) => Promise<T>, on: ReadonlySignal<number>[] = []): Loaded<T> {
  const [state, set] = useState<{ key: string; data?: T; error?: Refused; loading: boolean }>({ key, loading: true });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  const run = useRef({ isBusy: false, took_ms: 0, ended: -Infinity });

  // Not after the page is shown: nothing of what is asked has to wait for that.
  useLayoutEffect(() => {
    const abort = new AbortController();
    const began = performance.now();
    run.current.isBusy = true;
    const over = () => abort.signal.aborted || (run.current = { isBusy: false, took_ms: performance.now() - began, ended: performance.now() });
    set((before) => (before.key === key && before.loading ? before : { key, loading: true, ...(before.key === key && before.data !== undefined ? { data: before.data } : {}) }));
    latest.current(abort.signal).then(
      (data) => {
        over();
        abort.signal.aborted || set({ key, data, loading: false });
      },
      (error: unknown) => {
        over();
        if (abort.signal.aborted) return;
        const refused = error instanceof Refused ? error : new Refused(0, "Error", String(error));
        set((before) => ({ key, error: refused, loading: false, ...(before.key === key && before.data !== undefined ? { data: before.data } : {}) }));
      },
    );
    return () => abort.abort();
  }, [key, turn]);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = () => {
      timer = run.current.isBusy ? setTimeout(again, BUSY_MS) : undefined;
      if (timer === undefined && !document.hidden) setTurn((n) => n + 1);
    };
    const ends = on.map((tick) => {
      const first = tick.value;
      return tick.subscribe((now) => {
        if (now === first || timer !== undefined) return;
        const { ended, took_ms } = run.current;
        timer = setTimeout(again, Math.max(0, ended + Math.max(PACE_MS, 3 * took_ms) - performance.now()));
      });
    });
    const seen = () => document.hidden || setTurn((n) => n + 1);
    document.addEventListener("visibilitychange", seen);
    return () => {
      ends.forEach((end) => end());
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [key]);

  const { key: of, ...rest } = state;
  return { ...(of === key ? rest : { loading: true }), reload: () => setTurn((n) => n + 1) } as Loaded<T>;
}
