import { useSyncExternalStore } from "react";

import { formatMoment } from "./charts/words";

const TICK = 5_000; // milliseconds

const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let now = Date.now();

function tick(): void {
  now = Date.now();
  for (const tell of listeners) tell();
}

function subscribe(tell: () => void): () => void {
  if (listeners.size === 0) {
    now = Date.now();
    timer = setInterval(tick, TICK);
  }
  listeners.add(tell);
  return () => {
    listeners.delete(tell);
    if (listeners.size === 0) clearInterval(timer);
  };
}

/** The time in milliseconds, which moves on every few seconds: one clock for all that show an age. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

const UNITS: readonly [string, number][] = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];

/** Say a length of time in the largest unit of which it has two, such as `3 min` or `30 h`; a few seconds are `moments`. */
export function duration(seconds: number): string {
  if (seconds < 5) return "moments";
  const [unit, size] = UNITS.find(([, length]) => seconds >= 2 * length) ?? (["s", 1] as const);
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** Say how long it is since a moment; one that a fast clock puts in the future is now. */
export function since(at: string, nowMs: number): string {
  return duration(Math.max(0, (nowMs - Date.parse(at)) / 1000));
}

/** Say a moment in the time zone that the reader chose, as charts do. */
export function absolute(at: string): string {
  return formatMoment(new Date(at));
}

/** A moment as everywhere on the page; any other text as it is. */
export function momentOr(text: string): string {
  return /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(text) ? absolute(text) : text;
}
