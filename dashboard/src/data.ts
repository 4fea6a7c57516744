/** What a page loads: kept while it is loaded again, cancelled when the page is left. */
import type { ReadonlySignal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { Refused } from "./api/client";

export type Loaded<T> = { data?: T; error?: Refused; loading: boolean; reload: () => void };

/** Least time between two loads of the same, however many events come. */
const PACE_MS = 1500;

/**
 * Loads again when `key` changes, when `reload` is called and, at most every PACE_MS, when one of `on` ticks.
 */
export function useLoad<T>(key: string, load: (signal: AbortSignal) => Promise<T>, on: ReadonlySignal<number>[] = []): Loaded<T> {
  const [state, set] = useState<{ key: string; data?: T; error?: Refused; loading: boolean }>({ key, loading: true });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;

  useEffect(() => {
    const abort = new AbortController();
    set((before) => ({ key, loading: true, ...(before.key === key && before.data !== undefined ? { data: before.data } : {}) }));
    latest.current(abort.signal).then(
      (data) => abort.signal.aborted || set({ key, data, loading: false }),
      (error: unknown) => {
        if (abort.signal.aborted) return;
        const refused = error instanceof Refused ? error : new Refused(0, "Error", String(error));
        set((before) => ({ key, error: refused, loading: false, ...(before.key === key && before.data !== undefined ? { data: before.data } : {}) }));
      },
    );
    return () => abort.abort();
  }, [key, turn]);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ends = on.map((tick) => {
      const first = tick.value;
      return tick.subscribe((now) => {
        if (now === first || timer !== undefined) return;
        timer = setTimeout(() => {
          timer = undefined;
          if (!document.hidden) setTurn((n) => n + 1);
        }, PACE_MS);
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
