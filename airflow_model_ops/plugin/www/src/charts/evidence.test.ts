import type { Schemas } from "../api/client";
import { checkOf, pointOf } from "../test/evidence";
import { bands, drawn, evidenceDomain, logTicks, ratioDomain, runs, thin, timeDomain, valueDomain } from "./evidence";

const many = (count: number, of: (index: number) => Partial<Schemas["Point"]> = () => ({})) =>
  Array.from({ length: count }, (_, index) => pointOf(index, of(index)));

describe("the scale of the risk ratio", () => {
  test("spans both lines and the newest bounds", () => {
    const [low, high] = ratioDomain(checkOf([pointOf(0, { low: 0.3, ratio: 1.2, high: 4 })]));
    expect(low).toBeLessThan(0.3);
    expect(high).toBeGreaterThan(4);
  });

  test("is not stretched by the wide bounds of the first moments, nor by an unbounded one", () => {
    const [low, high] = ratioDomain(checkOf([pointOf(0, { low: 0.001, high: 900 }), pointOf(1, { low: 0.8, ratio: 1, high: null })]));
    expect(low).toBeGreaterThan(0.3);
    expect(high).toBeLessThan(4);
  });

  test("ends where a ratio says no more to the eye, also at a ratio of zero", () => {
    const [low, high] = ratioDomain(checkOf([pointOf(0, { ratio: 5000, low: 0, high: 9e9 })]));
    expect(high).toBe(50);
    expect(low).toBeGreaterThan(0);
  });

  test("without points shows the lines all the same", () => {
    const domain = ratioDomain(checkOf([]));
    expect(domain[0]).toBeLessThan(1);
    expect(domain[1]).toBeGreaterThan(1.5);
    expect(logTicks(domain)).toEqual([0.5, 1, 2]);
  });
});

describe("a bound", () => {
  test("within the scale is drawn where it is", () => {
    expect(drawn(1.5, "high", [0.5, 2])).toEqual({ value: 1.5, cut: false });
  });

  test("beyond it is drawn at the edge, with a mark", () => {
    expect(drawn(9, "high", [0.5, 2])).toEqual({ value: 2, cut: true });
    expect(drawn(0, "low", [0.5, 2])).toEqual({ value: 0.5, cut: true });
  });

  test("that is none is drawn at its own edge, with a mark", () => {
    expect(drawn(null, "high", [0.5, 2])).toEqual({ value: 2, cut: true });
    expect(drawn(null, "low", [0.5, 2])).toEqual({ value: 0.5, cut: true });
  });
});

describe("the band", () => {
  const domain = [0.1, 10] as const;

  test("breaks where a step begins: counts begin anew", () => {
    const points = many(6, (index) => ({ percent: index < 3 ? 5 : 10 }));
    expect(bands(points, domain).map((stretch) => stretch.length)).toEqual([3, 3]);
  });

  test("has a gap where nothing was measured", () => {
    const points = many(5, (index) => (index === 2 ? { ratio: null, low: null, high: null } : {}));
    expect(bands(points, domain).map((stretch) => stretch.length)).toEqual([2, 2]);
  });

  test("of a single moment is a stretch of its own, and of none there is none", () => {
    expect(bands([pointOf(0)], domain)).toHaveLength(1);
    expect(bands([], domain)).toEqual([]);
  });
});

describe("thinning", () => {
  test("leaves a few as they are", () => {
    expect(thin(many(10), 10)).toHaveLength(10);
  });

  test("keeps both ends, each step's ends and each change of the verdict", () => {
    const points = many(1000, (index) => ({ percent: index < 333 ? 5 : 10, verdict: index === 777 ? "HARM" : "UNDECIDED" }));
    const kept = thin(points, 50);
    expect(kept.length).toBeLessThan(70);
    for (const index of [0, 332, 333, 777, 999]) {
      expect(kept).toContain(points[index]);
    }
  });
});

describe("the scale of a gauge", () => {
  test("spans values and limits with some air", () => {
    const points = [pointOf(0, { value: 0.9, stable_value: 0.95 })];
    const [low, high] = valueDomain(checkOf(points, { kind: "gauge", limits: { min: 0.8 } }));
    expect(low).toBeLessThan(0.8);
    expect(high).toBeGreaterThan(0.95);
  });

  test("has a length for one value, for zero and for none", () => {
    const one = (value: number | null) => valueDomain(checkOf([pointOf(0, { value, stable_value: null })], { limits: {} }));
    for (const [low, high] of [one(0.9), one(0), one(null)]) {
      expect(high).toBeGreaterThan(low);
    }
  });
});

describe("the scale of the evidence", () => {
  test("shows the lines before anything comes near them", () => {
    const [low, high] = evidenceDomain(checkOf([pointOf(0, { harm: -0.1, safe: 0.1 })]));
    expect(high).toBeGreaterThan(2);
    expect(low).toBeGreaterThan(-1);
  });

  test("ends where more says no more", () => {
    const [low, high] = evidenceDomain(checkOf([pointOf(0, { harm: -300, safe: 500 })]));
    expect(low).toBe(-2);
    expect(high).toBe(4);
  });
});

describe("the time shown", () => {
  const steps = [{ at: pointOf(0).at, percent: 5, watch: false }];

  test("goes on to now while the release is live", () => {
    const now = new Date(Date.parse(pointOf(40).at));
    expect(timeDomain(checkOf(many(30)), steps, now)[1]).toEqual(now);
    expect(timeDomain(checkOf(many(30)), steps, null)[1]).toEqual(new Date(pointOf(29).at));
  });

  test("is at most half empty when nothing new comes", () => {
    const muchLater = new Date(Date.parse(pointOf(5000).at));
    expect(timeDomain(checkOf(many(31)), steps, muchLater)[1]).toEqual(new Date(pointOf(60).at));
  });

  test("is never of no length", () => {
    for (const check of [checkOf([]), checkOf([pointOf(0)])]) {
      const [begin, end] = timeDomain(check, [], null);
      expect(end.getTime()).toBeGreaterThan(begin.getTime());
    }
  });
});

test("a line is broken at steps and gaps and cut to its scale", () => {
  const points = many(5, (index) => ({ percent: index < 2 ? 5 : 10, harm: index === 3 ? null : 9 }));
  expect(runs(points, ({ harm }) => harm, [0, 4]).map((run) => run.map(({ value }) => value))).toEqual([[4, 4], [4], [4]]);
});
