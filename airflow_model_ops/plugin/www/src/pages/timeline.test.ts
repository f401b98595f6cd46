import { entryOf } from "../test/tabs";
import { byDay, knownOf, withNewest, withOlder } from "./timeline";

const page = (from: number, to: number, before: number | null = null) => ({
  before,
  entries: Array.from({ length: from - to + 1 }, (_, index) => entryOf(from - index)),
});
const numbers = ({ entries }: { entries: readonly { sequence: number }[] }) => entries.map(({ sequence }) => sequence);

describe("what is known of a log", () => {
  const loaded = withOlder(knownOf(page(20, 11, 11)), 11, page(10, 1));

  test("keeps what was loaded when the newest page moves on", () => {
    const known = withNewest(loaded, page(23, 14, 14));
    expect(numbers(known)).toEqual(numbers(page(23, 1)));
    expect(known.before).toBeNull();
  });

  test("begins anew when more happened than a page holds: no gap is shown as quiet", () => {
    const known = withNewest(loaded, page(90, 81, 81));
    expect(numbers(known)).toEqual(numbers(page(90, 81)));
    expect(known.before).toBe(81);
  });

  test("drops an older page that was asked for from another place", () => {
    const moved = knownOf(page(90, 81, 81));
    expect(withOlder(moved, 11, page(10, 1))).toBe(moved);
  });
});

test("entries are grouped by the reader's days, newest first", () => {
  const at = (day: number, hour: number) => new Date(2026, 0, day, hour).toISOString();
  const days = byDay([entryOf(3, { at: at(3, 1) }), entryOf(2, { at: at(2, 23) }), entryOf(1, { at: at(2, 0) })]);
  expect(days.map(numbers)).toEqual([[3], [2, 1]]);
});
