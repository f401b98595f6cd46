import type { Schemas } from "../api/client";

type PlotPoint = Schemas["PlotPoint"];

/** A gap this many times the usual distance between points is drawn as one: nothing was measured there. */
const GAP = 3;

/** A line's points in stretches without a gap. */
export function stretchesOf(points: readonly PlotPoint[]): PlotPoint[][] {
  const times = points.map(({ at }) => new Date(at).getTime());
  const steps = times.slice(1).map((time, index) => time - (times[index] ?? time));
  const usual = [...steps].sort((a, b) => a - b)[Math.floor(steps.length / 2)] ?? 0;
  const stretches: PlotPoint[][] = [];
  points.forEach((point, index) => {
    const last = stretches.at(-1);
    if (last === undefined || (steps[index - 1] ?? 0) > GAP * usual) {
      stretches.push([point]);
    } else {
      last.push(point);
    }
  });
  return stretches;
}

/** All moments at which any line has a point, in order, in milliseconds. */
export function momentsOf(lines: readonly Schemas["PlotLine"][]): number[] {
  return [...new Set(lines.flatMap(({ points }) => points.map(({ at }) => new Date(at).getTime())))].sort((a, b) => a - b);
}

/** A line's value at a moment; `null` where it has none just then. */
export function valueAt(line: Schemas["PlotLine"], moment: number): number | null {
  return line.points.find(({ at }) => new Date(at).getTime() === moment)?.value ?? null;
}

/** The smallest and largest value with some air; from zero where all are close enough to it that the eye would think so. */
export function spanOf(lines: readonly Schemas["PlotLine"][]): [number, number] {
  const values = lines.flatMap(({ points }) => points.map(({ value }) => value));
  if (values.length === 0) {
    return [0, 1];
  }
  const low = Math.min(...values);
  const high = Math.max(...values);
  const air = high > low ? (high - low) * 0.1 : Math.abs(high) * 0.1 || 1;
  const floor = low >= 0 && low < 0.5 * high ? 0 : low - air;
  return [floor, high + air];
}
