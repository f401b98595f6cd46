import type { Schemas } from "../api/client";
import type { Sign } from "../charts/sign";
import { wallClock } from "../charts/zone";
import { eventWords } from "../looks";

type Entry = Schemas["TimelineEntry"];

/** What is known of a log so far: its newest entries without a gap, newest first, and where the older ones begin. */
export interface Known {
  readonly entries: readonly Entry[];
  readonly before: number | null;
}

const SIGNS: Record<string, Omit<Sign, "words">> = {
  start_canary: { sign: "◔", palette: "orange" },
  shift: { sign: "⇄", palette: "orange" },
  promote: { sign: "↑", palette: "green" },
  abort: { sign: "✕", palette: "red" },
  rollback: { sign: "↶", palette: "red" },
  pin_golden: { sign: "★", palette: "yellow" },
  quarantine: { sign: "⊘", palette: "red" },
  lift: { sign: "○", palette: "blue" },
  hold: { sign: "‖", palette: "purple" },
  resume: { sign: "▷", palette: "blue" },
  retire: { sign: "−", palette: "gray" },
  retired: { sign: "−", palette: "gray" },
  adopt: { sign: "↓", palette: "blue" },
  end_hold_back: { sign: "◑", palette: "green" },
  pushed: { sign: "+", palette: "gray" },
  validated: { sign: "✓", palette: "gray" },
  verdict: { sign: "⚖", palette: "gray" },
  applied: { sign: "●", palette: "gray" },
};

/** Return how an action or a fact looks; one this page does not know is shown as it is. */
export function actionLook(name: string): Sign {
  return { ...(SIGNS[name] ?? { sign: "·", palette: "gray" }), words: eventWords(name) };
}

/** What one page says, with nothing known before. */
export function knownOf({ entries, before }: Schemas["Timeline"]): Known {
  return { entries, before: before ?? null };
}

/**
 * What is known after the newest page was read again. Older entries that were loaded stay; if more happened meanwhile than a page
 * holds they go, so that no gap is shown as if nothing had happened in it.
 */
export function withNewest(known: Known | null, page: Schemas["Timeline"]): Known {
  const oldest = page.entries.at(-1);
  const newestKnown = known?.entries[0];
  if (known === null || oldest === undefined || newestKnown === undefined || oldest.sequence > newestKnown.sequence) {
    return knownOf(page);
  }
  const older = known.entries.filter(({ sequence }) => sequence < oldest.sequence);
  return older.length === 0 ? knownOf(page) : { entries: [...page.entries, ...older], before: known.before };
}

/** What is known after an older page was read: one that was asked for from another place is dropped. */
export function withOlder(known: Known, asked: number, page: Schemas["Timeline"]): Known {
  return known.before === asked ? { entries: [...known.entries, ...page.entries], before: page.before ?? null } : known;
}

export interface Day {
  readonly key: string;
  readonly at: Date;
  readonly entries: readonly Entry[];
}

/** The entries by the days of the reader's time zone, in the order they come. */
export function byDay(entries: readonly Entry[]): Day[] {
  const days: { key: string; at: Date; entries: Entry[] }[] = [];
  for (const entry of entries) {
    const at = new Date(entry.at);
    const key = wallClock(at).toISOString().slice(0, 10);
    const last = days.at(-1);
    if (last?.key === key) {
      last.entries.push(entry);
    } else {
      days.push({ key, at, entries: [entry] });
    }
  }
  return days;
}

/** The entries that changed what should serve, or all. */
export function shownOf(entries: readonly Entry[], onlyTransitions: boolean): readonly Entry[] {
  return onlyTransitions ? entries.filter(({ kind }) => kind === "transition") : entries;
}
