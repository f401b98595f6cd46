import { stylesOf } from "./palette";
import { momentsOf, spanOf, stretchesOf, valueAt } from "./plot";
import { moved, nearest } from "./useScrub";
import { formatBytes, formatDuration, formatEvidence, formatOdds, formatRatio, formatShare } from "./words";

describe("the look of a version", () => {
  test("differs among eight in colour or pattern, and in dash", () => {
    const styles = [...stylesOf(["a", "b", "c", "d", "e", "f", "g", "h"]).values()];
    expect(new Set(styles.map(({ color, pattern }) => `${color} ${pattern}`)).size).toBe(8);
    expect(new Set(styles.map(({ dash }) => dash)).size).toBe(8);
  });

  test("is its own whatever the order, and alone it is as among others that want another", () => {
    expect(stylesOf(["b", "a"])).toEqual(stylesOf(["a", "b"]));
    expect(stylesOf(["a"]).get("a")).toEqual(stylesOf(["a", "b"]).get("a"));
  });

  test("is that of its role, whatever its name and whoever is beside it, and nobody else's", () => {
    const others = Array.from({ length: 20 }, (_, index) => `v${index}`);
    const roles = { v3: "stable", v7: "canary", v9: "held back" } as const;
    const styles = stylesOf(others, roles);
    expect(styles.get("v3")).toEqual(stylesOf(["z"], { z: "stable" }).get("z"));
    expect(styles.get("v7")).toEqual(stylesOf(["a", "z"], { z: "canary" }).get("z"));
    for (const version of Object.keys(roles)) {
      const same = others.filter((other) => other !== version && styles.get(other)?.color === styles.get(version)?.color);
      expect(same).toEqual([]);
    }
  });

  test("is there for more versions than looks", () => {
    expect(stylesOf(Array.from({ length: 20 }, (_, index) => `v${index}`)).size).toBe(20);
  });
});

describe("a line over time", () => {
  const at = (minute: number) => new Date(minute * 60_000).toISOString();
  const points = [0, 1, 2, 30, 31].map((minute) => ({ at: at(minute), value: minute }));

  test("has a gap where nothing was measured", () => {
    expect(stretchesOf(points, 60).map((stretch) => stretch.length)).toEqual([3, 2]);
    expect(stretchesOf([], 60)).toEqual([]);
    expect(stretchesOf(points.slice(0, 1), 60)).toHaveLength(1);
  });

  test("shares its moments with the others, each in order and once", () => {
    const other = { version: "b", points: [{ at: at(1), value: 5 }, { at: at(9), value: 6 }] };
    const line = { version: "a", points };
    expect(momentsOf([line, other]).map((moment) => moment / 60_000)).toEqual([0, 1, 2, 9, 30, 31]);
    expect(valueAt(other, 60_000)).toBe(5);
    expect(valueAt(line, 9 * 60_000)).toBeNull();
  });

  test("begins at zero only where it comes near it", () => {
    const span = (...values: number[]) => spanOf([{ version: "a", points: values.map((value, minute) => ({ at: at(minute), value })) }]);
    expect(span(1, 10)[0]).toBe(0);
    expect(span(90, 100)[0]).toBeGreaterThan(80);
    expect(span(5)).toEqual([4.5, 5.5]);
    expect(span()).toEqual([0, 1]);
  });
});

describe("the mark", () => {
  test("moves by keys, and not beyond the ends", () => {
    expect(moved("ArrowLeft", 5, 10)).toBe(4);
    expect(moved("ArrowRight", 9, 10)).toBe(9);
    expect(moved("PageDown", 5, 10)).toBe(0);
    expect(moved("Home", 5, 10)).toBe(0);
    expect(moved("End", 5, 10)).toBe(9);
    expect(moved("Tab", 5, 10)).toBeNull();
  });

  test("follows the pointer to the nearest", () => {
    expect(nearest([0, 10, 20], 14)).toBe(1);
    expect(nearest([0, 10, 20], 999)).toBe(2);
  });
});

describe("in words", () => {
  test("a share names both counts, and no percent of nothing", () => {
    expect(formatShare(12, 3400)).toBe("12 of 3,400 (0.353 %)");
    expect(formatShare(0, 0)).toBe("0 of 0");
    expect(formatShare(null, 5)).toBe("not counted");
  });

  test("a ratio says which bound is none", () => {
    expect(formatRatio(1.25, 0.9, null)).toBe("1.25× (0.9× to no upper bound)");
    expect(formatRatio(null, null, null)).toBe("not measured");
  });

  test("evidence is told in odds", () => {
    expect(formatEvidence(2)).toBe("100 to 1");
    expect(formatEvidence(-3)).toBe("none");
    expect(formatEvidence(40)).toBe("more than 1,000,000 to 1");
    expect(formatEvidence(null)).toBe("none yet");
    expect([-2, 0, 2, 4].map(formatOdds)).toEqual(["1:100", "1:1", "100:1", "10K:1"]);
  });

  test("sizes and lengths of time have the unit that fits", () => {
    expect(formatBytes(0)).toBe("0 B");
    expect(formatBytes(1536)).toBe("1.5 KiB");
    expect(formatBytes(3 * 1024 ** 3)).toBe("3 GiB");
    expect(formatDuration(0)).toBe("0 s");
    expect(formatDuration(3_660_000)).toBe("1 h 1 min");
    expect(formatDuration(86_400_000)).toBe("1 d");
  });
});
