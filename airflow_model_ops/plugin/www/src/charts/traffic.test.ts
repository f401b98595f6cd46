import { beginOf, cut, layers, thinned, versionsOf } from "./traffic";

const NOON = Date.UTC(2026, 0, 2, 12);
const moment = (minutes: number) => new Date(NOON + minutes * 60_000);
const period = (begin: number, end: number | null, split: Record<string, number>, generation = 1) => ({
  begin: moment(begin).toISOString(),
  end: end === null ? null : moment(end).toISOString(),
  split: Object.entries(split).map(([version, percent]) => ({ version, percent })),
  generation,
  reason: `generation ${generation}`,
});

describe("the periods in a window", () => {
  test("are cut to it, and what lies outside is left out", () => {
    const periods = [period(-100, -50, { a: 100 }), period(-50, 10, { b: 100 }), period(10, 20, { c: 100 }), period(90, null, { d: 100 })];
    const shown = cut(periods, moment(0), moment(60));
    expect(shown.map(({ begin, end }) => [begin, end])).toEqual([
      [moment(0), moment(10)],
      [moment(10), moment(20)],
    ]);
  });

  test("reach to now where they go on", () => {
    const [shown] = cut([period(-100, null, { a: 100 })], moment(0), moment(60));
    expect(shown).toMatchObject({ begin: moment(0), end: moment(60), open: true });
  });
});

describe("thinning", () => {
  const minutes = (count: number, from = 0) =>
    Array.from({ length: count }, (_, index) => period(from + index, from + index + 1, { [`v${index}`]: 100 }, index));

  test("makes one bar of neighbours that are too short, and says of how many", () => {
    const shown = thinned(cut(minutes(10), moment(0), moment(60)), 5 * 60_000);
    expect(shown.map(({ count }) => count)).toEqual([5, 5]);
    expect(shown[0]?.end).toEqual(moment(5));
  });

  test("shows the one that lasted longest", () => {
    const periods = [period(0, 1, { short: 100 }), period(1, 4, { long: 100 }), period(4, 5, { last: 100 })];
    const [shown] = thinned(cut(periods, moment(0), moment(60)), 10 * 60_000);
    expect(shown?.split[0]?.version).toBe("long");
    expect(shown).toMatchObject({ begin: moment(0), end: moment(5), count: 3 });
  });

  test("leaves long ones alone and closes no gap", () => {
    const apart = [period(0, 1, { a: 100 }), period(2, 3, { b: 100 }), period(3, 60, { c: 100 })];
    expect(thinned(cut(apart, moment(0), moment(60)), 5 * 60_000)).toHaveLength(3);
  });
});

describe("the layers of a bar", () => {
  test("lie upon one another in the order of the versions, without those that have no traffic", () => {
    const split = [
      { version: "canary", percent: 5 },
      { version: "gone", percent: 0 },
      { version: "stable", percent: 95 },
    ];
    expect(layers(split, ["stable", "gone", "canary"])).toEqual([
      { version: "stable", from: 0, to: 95 },
      { version: "canary", from: 95, to: 100 },
    ]);
  });

  test("name each version once, in the order of their first traffic", () => {
    const shown = cut([period(0, 1, { a: 100, never: 0 }), period(1, 2, { b: 50, a: 50 })], moment(0), moment(60));
    expect(versionsOf(shown)).toEqual(["a", "b"]);
  });
});

test("a chart begins with its window, or where a young model first served", () => {
  const at = (minutes: number) => new Date(Date.UTC(2026, 0, 1, 0, minutes));
  const served = (begin: Date | null) => ({ periods: [], begin: begin?.toISOString() ?? null });
  expect(beginOf(served(at(-90)), at(0), at(60))).toEqual(at(0));
  expect(beginOf(served(at(50)), at(0), at(60))).toEqual(at(50));
  expect(beginOf(served(at(70)), at(0), at(60))).toEqual(at(0)); // another clock
  expect(beginOf(served(null), at(0), at(60))).toEqual(at(0));
});
