import { afterEach, expect, test, vi } from "vitest";

import { byDay } from "../pages/timeline";
import { momentOr } from "../time";
import { formatMoment, formatTick } from "./words";
import { momentOf, wallClock, zone } from "./zone";

const choose = (kept: string) => window.localStorage.setItem("timezone", kept);

afterEach(() => {
  window.localStorage.clear();
  vi.restoreAllMocks();
});

test("times are shown in the zone that was chosen in Airflow's menu", () => {
  const at = new Date("2026-01-31T23:30:00Z");
  choose('"Asia/Tokyo"');
  expect(formatMoment(at)).toBe("2026-02-01 08:30:00");
  choose('"America/New_York"');
  expect(formatMoment(at)).toBe("2026-01-31 18:30:00");
});

test("moments among other texts are told from them", () => {
  choose('"Asia/Tokyo"');
  expect(momentOr("2026-01-31T23:30:00.123456+00:00")).toBe("2026-02-01 08:30:00");
  for (const text of ["2026-01-31", "mnist-3", "v-20260131-233000", "2026-01-31T23:30:00 or so"]) expect(momentOr(text)).toBe(text);
});

test("a day begins at midnight of that zone, on axes and in the timeline", () => {
  choose('"Asia/Tokyo"');
  expect(formatTick(new Date("2026-01-31T15:00:00Z"))).toBe("Feb 1");
  const entries = ["2026-01-31T15:00:00Z", "2026-01-31T14:59:59Z"].map((at) => ({ at }));
  expect(byDay(entries as unknown as Parameters<typeof byDay>[0]).map(({ key }) => key)).toEqual(["2026-02-01", "2026-01-31"]);
});

test("the browser's zone counts where none was chosen, or none that there is", () => {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  expect(zone()).toBe(own);
  for (const kept of ["not JSON", "7", '"Mars/Olympus"', '""']) {
    choose(kept);
    expect(zone()).toBe(own);
  }
  vi.spyOn(Storage.prototype, "getItem").mockImplementation(() => {
    throw new DOMException("denied", "SecurityError");
  });
  expect(zone()).toBe(own);
});

test("a wall clock leads back to its moment, also around a change of the clocks", () => {
  choose('"Europe/Berlin"');
  for (const at of ["2026-03-28T23:00:00Z", "2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z", "2026-10-25T22:00:00Z"]) {
    expect(momentOf(wallClock(new Date(at))).toISOString()).toBe(new Date(at).toISOString());
  }
});
