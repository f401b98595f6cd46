import { ApiError } from "./client";
import { PACE, pace, paceOfFilling, waitAfterError, worthAskingAgain } from "./polling";

test("nothing is asked again by itself while nothing is live", () => {
  for (const subject of Object.keys(PACE) as (keyof typeof PACE)[]) {
    expect(pace(subject, false)).toBe(0);
    expect(pace(subject, true)).toBeGreaterThanOrEqual(1_000);
  }
});

test("a list that is not filled is asked for until it is, but not for ever", () => {
  expect(paceOfFilling(0)).toBeGreaterThanOrEqual(1_000);
  expect(paceOfFilling(60_000)).toBe(0);
});

test("each error in a row makes the wait longer, up to a minute", () => {
  expect([1, 2, 3, 4, 5, 6, 20].map(waitAfterError)).toEqual([2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
});

test("a backend that rests is asked again, a refusal is not", () => {
  for (const status of [0, 429, 500, 503]) expect(worthAskingAgain(new ApiError(status, "later"))).toBe(true);
  for (const status of [400, 401, 403, 404, 409, 422]) expect(worthAskingAgain(new ApiError(status, "no"))).toBe(false);
  expect(worthAskingAgain(new TypeError("a mistake of the page"))).toBe(false);
});
