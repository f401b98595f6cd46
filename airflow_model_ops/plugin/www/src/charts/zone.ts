/** The time zone that the person chose in Airflow's menu: all of Airflow's pages show times in it, and so does this one. */

import { useSyncExternalStore } from "react";

/** Where Airflow's UI keeps the choice, as JSON; nothing is there before the first one, and the browser's own zone counts. */
const KEPT_AS = "timezone";
/** What a change is told by: in another tab by the browser, in this one by Airflow's UI. */
const CHANGES = ["storage", "local-storage"];

const readers = new Map<string, Intl.DateTimeFormat | null>();

/** A reader of wall clocks for a zone; `null` where the browser knows no such zone. */
function readerOf(zone: string): Intl.DateTimeFormat | null {
  const known = readers.get(zone);
  if (known !== undefined) return known;
  let reader: Intl.DateTimeFormat | null = null;
  try {
    reader = new Intl.DateTimeFormat("en", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  } catch {
    // The browser's own zone counts then.
  }
  readers.set(zone, reader);
  return reader;
}

/** Return the zone in which to show times. */
export function zone(): string {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  try {
    const chosen: unknown = JSON.parse(window.localStorage.getItem(KEPT_AS) ?? "null");
    return typeof chosen === "string" && chosen !== "" && readerOf(chosen) !== null ? chosen : own;
  } catch {
    return own; // no storage, or something else than a zone in it
  }
}

function subscribe(tell: () => void): () => void {
  for (const change of CHANGES) window.addEventListener(change, tell);
  return () => {
    for (const change of CHANGES) window.removeEventListener(change, tell);
  };
}

/** The zone in which to show times, as it changes. */
export function useZone(): string {
  return useSyncExternalStore(subscribe, zone);
}

/** Return a date whose UTC parts are what a clock on the wall of the zone shows at a moment. */
export function wallClock(at: Date): Date {
  const reader = readerOf(zone());
  if (reader === null || Number.isNaN(at.getTime())) return at;
  const read = Object.fromEntries(reader.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = read;
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second, at.getMilliseconds()));
}

/** Return the moment at which a wall clock shows something: the inverse of `wallClock` but for an hour when clocks change. */
export function momentOf(wall: Date): Date {
  const roughly = new Date(wall.getTime() - (wallClock(wall).getTime() - wall.getTime()));
  return new Date(wall.getTime() - (wallClock(roughly).getTime() - roughly.getTime()));
}
