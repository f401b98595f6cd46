import type { Schemas } from "../api/client";

type Point = Schemas["Point"];
type CheckSeries = Schemas["CheckSeries"];
export type Domain = readonly [number, number];

/** A bound as it is drawn: at the chart's edge where it lies beyond, or is none. */
export interface Drawn {
  readonly value: number;
  readonly cut: boolean;
}

/** A moment of the confidence sequence as it is drawn. */
export interface BandPoint {
  readonly at: Date;
  readonly ratio: Drawn | null;
  readonly low: Drawn;
  readonly high: Drawn;
}

/** The risk ratios that a chart spans at most: beyond them a ratio says no more to the eye. */
const WIDEST: Domain = [1 / 50, 50];
const NARROWEST: Domain = [0.5, 2];
const LOG_TICKS = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50];
/** log10 of an e-value below which nothing more is drawn: evidence far against says no more than some against. */
const LOWEST_EVIDENCE = -2;
/** Milliseconds that a chart shows at least. */
const SHORTEST = 60_000;

const present = (values: readonly (number | null | undefined)[]): number[] =>
  values.filter((value): value is number => typeof value === "number" && Number.isFinite(value));

/** Above the highest, so that a line at the top leaves room for the words of the steps. */
const HEADROOM = 1.8;

/**
 * The risk ratios shown, on a log scale: all measured ones, both lines, and the newest bounds. The bounds of the first moments are
 * so wide that they would press all else flat; they are cut at the edge instead.
 */
export function ratioDomain(check: CheckSeries): Domain {
  const newest = check.points.at(-1);
  const shown = present([
    ...NARROWEST,
    check.rollback_line,
    check.promotion_line,
    ...check.points.map(({ ratio }) => ratio),
    newest?.low,
    newest?.high,
  ]).filter((value) => value > 0);
  return [Math.max(WIDEST[0], Math.min(...shown) / 1.2), Math.min(WIDEST[1], Math.max(...shown) * HEADROOM)];
}

/** Ticks of a log scale that lie in the domain. */
export function logTicks([low, high]: Domain): number[] {
  return LOG_TICKS.filter((tick) => tick >= low && tick <= high);
}

/** A bound within the domain. `null` is unbounded, which is beyond the edge it is a bound of. */
export function drawn(bound: number | null, edge: "low" | "high", [low, high]: Domain): Drawn {
  if (bound === null) {
    return { value: edge === "low" ? low : high, cut: true };
  }
  const value = Math.max(low, Math.min(high, bound));
  return { value, cut: value !== bound };
}

/** Whether a moment says anything of the risk ratio. */
const isMeasured = ({ ratio, low, high }: Point): boolean => ratio !== null || low !== null || high !== null;

/** The confidence sequence in stretches without a break: counts begin anew at each step, and where nothing was measured there is a gap. */
export function bands(points: readonly Point[], domain: Domain): BandPoint[][] {
  const stretches: BandPoint[][] = [];
  let before: Point | undefined;
  for (const point of points) {
    if (isMeasured(point)) {
      const joins = before !== undefined && isMeasured(before) && before.percent === point.percent;
      const moment: BandPoint = {
        at: new Date(point.at),
        ratio: point.ratio === null ? null : drawn(point.ratio, "low", domain),
        low: drawn(point.low, "low", domain),
        high: drawn(point.high, "high", domain),
      };
      const last = stretches.at(-1);
      if (joins && last !== undefined) {
        last.push(moment);
      } else {
        stretches.push([moment]);
      }
    }
    before = point;
  }
  return stretches;
}

/**
 * At most about `most` points of evenly spread ones, with both ends of every step and every change of the verdict: what a person
 * looks for is never thinned away.
 */
export function thin(points: readonly Point[], most: number): Point[] {
  if (points.length <= most) {
    return [...points];
  }
  const stride = Math.ceil(points.length / Math.max(1, most));
  return points.filter((point, index) => {
    const before = points[index - 1];
    const after = points[index + 1];
    const turns = (other: Point | undefined) =>
      other === undefined || other.percent !== point.percent || other.verdict !== point.verdict || isMeasured(other) !== isMeasured(point);
    return index % stride === 0 || turns(before) || turns(after);
  });
}

/** The measured values and limits of a gauge with some air around; a single value lies in the middle. */
export function valueDomain(check: CheckSeries): Domain {
  const shown = present([
    ...check.points.flatMap(({ value, stable_value }) => [value, stable_value]),
    ...Object.values(check.limits),
  ]);
  if (shown.length === 0) {
    return [0, 1];
  }
  const low = Math.min(...shown);
  const high = Math.max(...shown);
  const air = high > low ? (high - low) * 0.12 : Math.abs(high) * 0.1 || 1;
  return [low - air, high + air];
}

/** The log10 of e-values shown: up to twice the highest line, down to where evidence against stops mattering. */
export function evidenceDomain(check: CheckSeries): Domain {
  const lines = present([check.harm_line, check.safe_line]);
  const values = present(check.points.flatMap(({ harm, safe }) => [harm, safe]));
  const ceiling = 2 * Math.max(1, ...lines);
  return [
    Math.max(LOWEST_EVIDENCE, Math.min(-0.2, ...values)),
    Math.min(ceiling, 1.15 * Math.max(1, ...lines, ...values)),
  ];
}

/**
 * When the chart begins and ends: from the first step or point, to now while it is live, but never more than half of it empty where
 * nothing new comes. Never of no length.
 */
export function timeDomain(check: CheckSeries, steps: readonly Schemas["StepMark"][], now: Date | null): [Date, Date] {
  const times = [...check.points, ...steps].map(({ at }) => new Date(at).getTime());
  if (times.length === 0) {
    const end = (now ?? new Date()).getTime();
    return [new Date(end - SHORTEST), new Date(end)];
  }
  const begin = Math.min(...times);
  const last = Math.max(...times, begin + SHORTEST);
  const grown = now === null ? last : Math.min(now.getTime(), last + (last - begin));
  return [new Date(begin), new Date(Math.max(last, grown))];
}

/** Runs of points for which `of` gives a number, cut to the domain, broken at steps and gaps. */
export function runs(points: readonly Point[], of: (point: Point) => number | null, [low, high]: Domain): { at: Date; value: number }[][] {
  const found: { at: Date; value: number }[][] = [];
  let before: Point | undefined;
  for (const point of points) {
    const value = of(point);
    if (value !== null) {
      const moment = { at: new Date(point.at), value: Math.max(low, Math.min(high, value)) };
      const last = found.at(-1);
      if (last !== undefined && before !== undefined && of(before) !== null && before.percent === point.percent) {
        last.push(moment);
      } else {
        found.push([moment]);
      }
    }
    before = point;
  }
  return found;
}
