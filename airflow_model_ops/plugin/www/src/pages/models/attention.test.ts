import { rowOf, rowWithCanary } from "../../test/answers";
import { attention, shown, summary } from "./attention";

const TROUBLED = { value: { answering: 1, servers: 2, reason: "server-2 does not answer" }, trouble: null };
const HOLD = { by: "bob", by_person: true, reason: "the audit is on" };

test("what harms comes before what is broken, what is broken before what waits, and what is well comes last", () => {
  const rows = [
    rowOf({ model: "quiet" }),
    rowWithCanary("UNDECIDED", { model: "trial" }),
    rowOf({ model: "held", hold: HOLD }),
    rowWithCanary("STALE", { model: "frozen" }),
    rowOf({ model: "drifted", drift: "server-2 serves generation 3" }),
    rowOf({ model: "unreadable", trouble: "entry 7 is no JSON" }),
    rowOf({ model: "down", health: TROUBLED }),
    rowWithCanary("BREACH", { model: "harmed" }),
  ];
  const order = shown(rows, { search: "", order: "attention" }).map((row) => row.model);
  expect(order).toEqual(["harmed", "down", "unreadable", "drifted", "frozen", "held", "trial", "quiet"]);
});

test("of several reasons the gravest is told", () => {
  expect(attention(rowWithCanary("HARM", { hold: HOLD, drift: "some" })).words).toBe("canary: harm");
  expect(attention(rowOf({ hold: HOLD })).words).toBe("on hold by bob");
  expect(attention(rowOf()).words).toBeNull();
});

test("models of equal rank stay in the order of their names, so that rows do not jump", () => {
  const rows = ["c", "a", "b"].map((model) => rowOf({ model }));
  expect(shown(rows, { search: "", order: "attention" }).map((row) => row.model)).toEqual(["a", "b", "c"]);
});

test("a search finds models by all its words, in names, fleets and versions", () => {
  const rows = [rowOf({ model: "digits" }), rowOf({ model: "digits_large", fleet: "gpu" }), rowWithCanary(null, { model: "spam" })];
  const found = (search: string) => shown(rows, { search, order: "name" }).map((row) => row.model);
  expect(found("digits")).toEqual(["digits", "digits_large"]);
  expect(found("GPU digits")).toEqual(["digits_large"]);
  expect(found("v-20230603")).toEqual(["spam"]);
  expect(found("no such")).toEqual([]);
});

test("the newest comes first by event and by stable, and what never happened last", () => {
  const never = rowOf({ model: "never", last_event: null, stable_since: null });
  const old = rowOf({ model: "old", stable_since: "2026-01-01T00:00:00Z" });
  const young = rowOf({ model: "young", stable_since: "2026-02-01T00:00:00Z" });
  expect(shown([never, old, young], { search: "", order: "since" }).map((row) => row.model)).toEqual(["young", "old", "never"]);
  expect(shown([never, old], { search: "", order: "event" }).at(-1)?.model).toBe("never");
});

test("one line says how all are", () => {
  expect(summary([rowOf()])).toBe("1 model, none needs attention, no canary runs");
  const rows = [rowOf({ hold: HOLD }), rowWithCanary("HARM"), rowWithCanary("SAFE")];
  expect(summary(rows)).toBe("3 models, 2 need attention, 2 canaries run");
});
