import type { Schemas } from "../api/client";

/** A stretch of time as the chart draws it. */
export interface Stretch {
  readonly begin: Date;
  readonly end: Date;
  readonly split: readonly Schemas["Share"][];
  readonly reason: string;
  readonly generation: number;
  /** Whether it is still going on. */
  readonly open: boolean;
  /** How many shorter ones it stands for; 1: itself alone. */
  readonly count: number;
}

/** One version's part of a bar, in percent from the bottom. */
export interface Layer {
  readonly version: string;
  readonly from: number;
  readonly to: number;
}

/** Return where a chart begins that could show a whole window: hours before a young model first served would leave it a pixel. */
export function beginOf({ begin }: Schemas["TrafficHistory"], window: Date, now: Date): Date {
  const first = begin === null ? window : new Date(begin);
  return first > window && first < now ? first : window;
}

/** The periods that reach into the window, cut to it. What is known of them outside of it is not shown. */
export function cut(periods: readonly Schemas["Period"][], from: Date, until: Date): Stretch[] {
  return periods.flatMap((period) => {
    const begin = new Date(Math.max(new Date(period.begin).getTime(), from.getTime()));
    const end = new Date(Math.min(period.end === null ? Infinity : new Date(period.end).getTime(), until.getTime()));
    if (begin >= end) {
      return [];
    }
    const { split, reason, generation } = period;
    return [{ begin, end, split, reason, generation, open: period.end === null, count: 1 }];
  });
}

/**
 * At most about one bar for every `shortest` milliseconds: neighbours that are shorter become one, which looks like the one of
 * them that lasted longest. Without it a busy month is thousands of bars thinner than a pixel.
 */
export function thinned(stretches: readonly Stretch[], shortest: number): Stretch[] {
  const kept: { shown: Stretch; longest: number }[] = [];
  for (const stretch of stretches) {
    const length = stretch.end.getTime() - stretch.begin.getTime();
    const last = kept.at(-1);
    const touches = last !== undefined && last.shown.end.getTime() === stretch.begin.getTime();
    if (touches && length < shortest && last.shown.end.getTime() - last.shown.begin.getTime() < shortest) {
      const look = length >= last.longest ? stretch : last.shown;
      const { end, open } = stretch;
      last.shown = { ...look, begin: last.shown.begin, end, open, count: last.shown.count + 1 };
      last.longest = Math.max(length, last.longest);
    } else {
      kept.push({ shown: stretch, longest: length });
    }
  }
  return kept.map(({ shown }) => shown);
}

/** The layers of a bar, in the order of `versions` from the bottom, so that one version's area stays in one place. */
export function layers(split: readonly Schemas["Share"][], versions: readonly string[]): Layer[] {
  let bottom = 0;
  return [...split]
    .sort((a, b) => versions.indexOf(a.version) - versions.indexOf(b.version))
    .flatMap(({ version, percent }) => {
      if (percent <= 0) {
        return [];
      }
      const from = bottom;
      bottom = Math.min(100, bottom + percent);
      return [{ version, from, to: bottom }];
    });
}

/** The versions that had any traffic, in the order in which they first did. */
export function versionsOf(stretches: readonly Stretch[]): string[] {
  const seen = stretches.flatMap(({ split }) => split.filter(({ percent }) => percent > 0).map(({ version }) => version));
  return [...new Set(seen)];
}
