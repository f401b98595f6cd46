import { fireEvent, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import axe from "axe-core";

import { SplitBar } from "../components/SplitBar";
import type { Roles } from "../looks";
import { checkOf, pointOf } from "../test/evidence";
import { show } from "../test/page";
import { EvidenceChart } from "./EvidenceChart";
import { MetricPlot } from "./MetricPlot";
import { stylesOf } from "./palette";
import { TrafficHistoryChart } from "./TrafficHistoryChart";

const NOW = new Date(Date.UTC(2026, 0, 2, 12));
const ago = (hours: number) => new Date(NOW.getTime() - hours * 3_600_000).toISOString();
const HISTORY = {
  begin: ago(30),
  periods: [
    { begin: ago(30), end: ago(2), split: [{ version: "v1", percent: 100 }], generation: 1, reason: "first release" },
    { begin: ago(2), end: null, split: [{ version: "v1", percent: 95 }, { version: "v2", percent: 5 }], generation: 2, reason: "step 1" },
  ],
};

const ROLES: Roles = { v1: "stable", v2: "canary" };

const says = () => screen.getByRole("slider").getAttribute("aria-valuetext");

describe("the traffic over time", () => {
  test("says the newest split, and moves back by an arrow key", () => {
    show(<TrafficHistoryChart history={HISTORY} hours={24} roles={ROLES} now={NOW} />);
    expect(says()).toMatch(/^v1 95 %, v2 5 %, since .*: step 1$/);
    fireEvent.keyDown(screen.getByRole("slider"), { key: "ArrowLeft" });
    expect(says()).toMatch(/^v1 100 %, .* for 22 h: first release$/);
  });

  test("tells the same as a table, newest first", async () => {
    show(<TrafficHistoryChart history={HISTORY} hours={24} roles={ROLES} now={NOW} />);
    await userEvent.click(screen.getByText("As a table"));
    const rows = await screen.findAllByRole("row");
    expect(rows.map((row) => row.textContent)).toEqual([
      "FromUntilSplitWhy",
      expect.stringContaining("nowv1 95 %, v2 5 %step 1"),
      expect.stringContaining("v1 100 %first release"),
    ]);
  });

  test("asks for another window when one is picked", async () => {
    const asked: number[] = [];
    show(<TrafficHistoryChart history={HISTORY} hours={24} roles={ROLES} now={NOW} onHours={(hours) => asked.push(hours)} />);
    await userEvent.click(screen.getByText("7 days"));
    expect(asked).toEqual([168]);
  });

  test("says that nothing has served, or not in this time", () => {
    const { unmount } = show(<TrafficHistoryChart history={{ periods: [], begin: null }} hours={24} roles={ROLES} now={NOW} />);
    expect(screen.getByText("Nothing has served yet.")).toBeTruthy();
    unmount();
    show(<TrafficHistoryChart history={{ periods: [], begin: ago(900) }} hours={24} roles={ROLES} now={NOW} />);
    expect(screen.getByText("Nothing served in this time.")).toBeTruthy();
  });

  test("two on one page have patterns of their own", () => {
    const { container } = show(
      <>
        <TrafficHistoryChart history={HISTORY} hours={24} roles={ROLES} now={NOW} />
        <TrafficHistoryChart history={HISTORY} hours={24} roles={ROLES} now={NOW} />
      </>,
    );
    const ids = [...container.querySelectorAll("[id]")].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe("the evidence of a check", () => {
  const chart = (points: ReturnType<typeof pointOf>[], changes = {}) =>
    show(<EvidenceChart check={checkOf(points, changes)} confidence={0.99} now={null} steps={[{ at: pointOf(0).at, percent: 5, watch: false }]} />);

  test("labels both lines and shows the newest moment's numbers", () => {
    chart([pointOf(0), pointOf(1, { canary_bad: 30, canary_total: 1000, harm: 2.3, verdict: "HARM" })]);
    expect(screen.getByText("roll back: the whole band above 1.1×")).toBeTruthy();
    expect(screen.getByText("promote: the whole band below 1.5×")).toBeTruthy();
    expect(screen.getByText("30 of 1,000 (3 %)")).toBeTruthy();
    expect(screen.getByText("200 to 1")).toBeTruthy();
    expect(says()).toContain("harm");
  });

  test("draws a single moment, one without bounds, and none at all", () => {
    for (const points of [[pointOf(0)], [pointOf(0, { low: null, high: null })], [pointOf(0, { ratio: null, low: null, high: null })], []]) {
      const { container, unmount } = chart(points);
      expect(container.innerHTML).not.toContain("NaN");
      unmount();
    }
  });

  test("says so before the first moment", () => {
    chart([]);
    expect(screen.getByText(/Nothing was measured yet/)).toBeTruthy();
    expect(says()).toBe("nothing yet");
  });

  test("of a gauge shows its limits and both values", () => {
    chart([pointOf(0, { value: 0.91, stable_value: 0.93, harm: null, safe: null })], { kind: "gauge", limits: { min: 0.88 } });
    expect(screen.getByText("min 0.88")).toBeTruthy();
    expect(screen.getByText("0.91", { selector: "dd" })).toBeTruthy();
    expect(screen.queryByText("evidence, as odds")).toBeNull();
  });
});

test("a version looks the same in the traffic chart, in a bar and in what is compared", () => {
  const { container } = show(
    <>
      <TrafficHistoryChart history={HISTORY} hours={24} roles={ROLES} now={NOW} />
      <SplitBar split={HISTORY.periods.at(-1)?.split ?? []} roles={ROLES} />
    </>,
  );
  for (const version of Object.keys(ROLES)) {
    const inLegend = within(screen.getByRole("list", { name: "Versions" })).getByText(version).querySelector("pattern");
    const inBar = container.querySelector(`[data-version="${version}"] pattern`);
    expect(inBar?.innerHTML).toBe(inLegend?.innerHTML);
    expect(inBar?.innerHTML).toContain(stylesOf([version], ROLES).get(version)?.color);
  }
});

test("a plot shows each version's newest value, and says where there is none", () => {
  const plot = { metric: "latency", unit: "ms", step_seconds: 60, lines: [{ version: "v1", points: [{ at: ago(1), value: 80 }] }, { version: "v2", points: [] }] };
  show(<MetricPlot plot={plot} styles={stylesOf(["v1", "v2"])} />);
  expect(says()).toMatch(/v1 80 ms, v2 none$/);
});

test("charts have no fault that axe knows", async () => {
  const { container } = show(
    <>
      <TrafficHistoryChart history={HISTORY} hours={24} roles={ROLES} now={NOW} onHours={() => undefined} />
      <EvidenceChart check={checkOf([pointOf(0), pointOf(1)])} confidence={0.99} now={null} steps={[]} />
    </>,
  );
  const { violations } = await axe.run(container, { rules: { "color-contrast": { enabled: false } } });
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)).toEqual([]);
});
