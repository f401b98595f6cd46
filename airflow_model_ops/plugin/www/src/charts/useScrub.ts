import { useState, type AriaAttributes, type AriaRole, type KeyboardEvent, type PointerEvent } from "react";

/** Where a key takes the mark among `count` things; `null` for a key that moves nothing. */
export function moved(key: string, from: number, count: number): number | null {
  const last = count - 1;
  const to: Readonly<Record<string, number>> = {
    ArrowLeft: from - 1,
    ArrowDown: from - 1,
    ArrowRight: from + 1,
    ArrowUp: from + 1,
    PageUp: from + 10,
    PageDown: from - 10,
    Home: 0,
    End: last,
  };
  const next = to[key];
  return next === undefined ? null : Math.max(0, Math.min(last, next));
}

/** The index of the nearest of `positions`, which rise, to `x`. */
export function nearest(positions: readonly number[], x: number): number {
  let best = 0;
  positions.forEach((position, index) => {
    if (Math.abs(position - x) < Math.abs((positions[best] ?? Infinity) - x)) {
      best = index;
    }
  });
  return best;
}

interface ScrubProps extends AriaAttributes {
  role: AriaRole;
  tabIndex: number;
  onPointerMove: (event: PointerEvent<HTMLElement>) => void;
  onPointerDown: (event: PointerEvent<HTMLElement>) => void;
  onPointerLeave: () => void;
  onKeyDown: (event: KeyboardEvent<HTMLElement>) => void;
  onBlur: () => void;
}

/**
 * A mark that moves over the `count` things of a chart, by pointer and by arrow keys. The chart is one stop of the tab key and
 * speaks as a slider, so that a screen reader says the details of each thing.
 */
export function useScrub(options: {
  label: string;
  count: number;
  at: (x: number) => number;
  say: (index: number) => string;
}): { index: number | null; props: ScrubProps } {
  const { label, count, at, say } = options;
  const [chosen, choose] = useState<number | null>(null);
  const index = chosen === null ? null : Math.min(chosen, count - 1);
  const current = index ?? count - 1;
  const follow = (event: PointerEvent<HTMLElement>) => {
    choose(at(event.clientX - event.currentTarget.getBoundingClientRect().left));
  };
  return {
    index: count > 0 ? index : null,
    props: {
      role: "slider",
      tabIndex: 0,
      "aria-label": label,
      "aria-valuemin": 1,
      "aria-valuemax": Math.max(1, count),
      "aria-valuenow": Math.max(1, current + 1),
      "aria-valuetext": count > 0 ? say(current) : "nothing yet",
      onPointerMove: follow,
      onPointerDown: follow,
      onPointerLeave: () => {
        choose(null);
      },
      onBlur: () => {
        choose(null);
      },
      onKeyDown: (event) => {
        const next = count > 0 ? moved(event.key, current, count) : null;
        if (next !== null) {
          event.preventDefault();
          choose(next);
        }
      },
    },
  };
}
