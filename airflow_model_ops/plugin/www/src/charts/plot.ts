import type { Schemas } from "../api/client";

type PlotPoint = Schemas["PlotPoint"];

/** Points further apart than this many steps have a gap between them: nothing was measured there. */
const GAP = 1.5;

/** A line's points in stretches without a gap. */
export function stretchesOf(points: readonly PlotPoint[], stepSeconds: number): PlotPoint[][] {
  const stretches: PlotPoint[][] = [];
  for (const point of points) {
    const last = stretches.at(-1);
    const before = last?.at(-1);
    const apart = before === undefined ? Infinity : (Date.parse(point.at) - Date.parse(before.at)) / 1000;
    if (last === undefined || apart > GAP * stepSeconds) {
      stretches.push([point]);
    } else {
      last.push(point);
    }
  }
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
