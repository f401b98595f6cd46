import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import axe from "axe-core";
import type { ComponentType } from "react";

import { modelOf, rowWithCanary } from "../test/answers";
import { answering, Refusal } from "../test/api";
import { checkOf, evidenceOf, pointOf } from "../test/evidence";
import { show } from "../test/page";
import { entryOf, nodeOf, versionOf, versionsOf } from "../test/tabs";
import { EvidenceTab } from "./EvidenceTab";
import { LineageTab } from "./LineageTab";
import type { TabProps } from "./tab";
import { TimelineTab } from "./TimelineTab";
import { VersionsTab } from "./VersionsTab";

const ANSWER = modelOf(rowWithCanary("UNDECIDED", { live: false }));
const V3 = "v-20230603-120000";

function open(Content: ComponentType<TabProps>, replies: Parameters<typeof answering>[0], at?: string) {
  const questions = answering(replies);
  const shown = show(<Content answer={ANSWER} refresh={() => undefined} />, at === undefined ? {} : { at });
  return { ...shown, questions };
}

const address = () => screen.getByLabelText("address").textContent;

test.each([
  ["evidence", EvidenceTab],
  ["versions", VersionsTab],
  ["timeline", TimelineTab],
  ["lineage", LineageTab],
] as const)("%s says why it cannot be read, and offers to try again", async (_, Content) => {
  open(Content, { "GET models": new Refusal(503, { detail: "the repository rests", trouble: null }) });
  expect((await screen.findByRole("alert")).textContent).toContain("the repository rests");
  expect(screen.getByRole("button", { name: "Try again" })).toBeTruthy();
});

describe("the evidence", () => {
  const TWO = evidenceOf([checkOf([pointOf(0)]), checkOf([pointOf(0)], { check: "slow", description: "Slow answers", muted: true })]);

  test("is none before the first release", async () => {
    open(EvidenceTab, { "GET models/digits/evidence": { series: null, releases: [] } });
    expect(await screen.findByText("Nothing was judged yet")).toBeTruthy();
  });

  test("shows the judge's sentence and one check; another is picked by its name", async () => {
    open(EvidenceTab, { "GET models/digits/evidence": TWO });
    expect(await screen.findByText("neither proven good nor bad so far")).toBeTruthy();
    expect(screen.getByText("Error rate")).toBeTruthy();
    await userEvent.click(screen.getByRole("button", { name: /^slow/ }));
    expect(screen.getByText("Slow answers")).toBeTruthy();
    expect(screen.getByText("muted")).toBeTruthy();
    expect(address()).toContain("check=slow");
  });

  test("opens on the check that decided", async () => {
    const harmed = checkOf([pointOf(0)], { check: "slow", description: "Slow answers", verdict: "HARM" });
    const shadow = checkOf([pointOf(0)], { check: "shadow", description: "A shadow", verdict: "HARM", muted: true });
    const answer = evidenceOf([checkOf([pointOf(0)]), shadow, harmed]);
    open(EvidenceTab, { "GET models/digits/evidence": { ...answer, series: answer.series && { ...answer.series, verdict: "HARM" } } });
    expect(await screen.findByText("Slow answers")).toBeTruthy();
  });

  test("of an earlier attempt is asked for when it is picked", async () => {
    const { questions } = open(EvidenceTab, { "GET models/digits/evidence": TWO });
    await userEvent.selectOptions(await screen.findByLabelText("Release"), screen.getByRole("option", { name: /attempt 2, .*: aborted/ }));
    await waitFor(() => {
      expect(questions.at(-1)?.path).toBe("models/digits/evidence?release=model_release_digits%2Fmanual__2&attempt=2");
    });
  });

  test("of a release without checks says so", async () => {
    open(EvidenceTab, { "GET models/digits/evidence": evidenceOf([]) });
    expect(await screen.findByText("This release has no checks.")).toBeTruthy();
  });
});

describe("the timeline", () => {
  const page = (from: number, to: number, before: number | null = null) => ({
    before,
    entries: Array.from({ length: from - to + 1 }, (_, index) => entryOf(from - index)),
  });

  test("of a fresh model says what begins it", async () => {
    open(TimelineTab, { "GET models/digits/timeline": { before: null, entries: [] } });
    expect(await screen.findByText("Nothing has happened yet")).toBeTruthy();
  });

  test("tells who did what, why, and what should serve then", async () => {
    const split = [{ version: V3, percent: 100 }];
    const run = { dag_id: "model_rollback", run_id: "manual__1", task_id: null };
    const entry = entryOf(7, { name: "rollback", who: { kind: "person", name: "ada" }, reason: "lost mail", split, run, release: "r/1", attempt: 2, has_evidence: true });
    open(TimelineTab, { "GET models/digits/timeline": { before: null, entries: [entry] } });
    const item = (await screen.findByText("rolled back")).closest("li");
    expect(item?.textContent).toMatch(/lost mail.*should serve:100 % v-20230603-120000.*by ada.*generation 7/);
    expect(screen.getByRole("link", { name: "DAG run" }).getAttribute("href")).toBe("/dags/model_rollback/runs/manual__1");
    expect(screen.getByRole("link", { name: "evidence" }).getAttribute("href")).toBe("/plugin/model-ops/models/digits/evidence?release=r%2F1&attempt=2");
  });

  test("hides facts when only transitions are asked for", async () => {
    const entries = [entryOf(2, { kind: "fact", name: "applied", reason: "it serves" }), entryOf(1)];
    open(TimelineTab, { "GET models/digits/timeline": { before: null, entries } });
    expect(await screen.findByText("traffic applied")).toBeTruthy();
    await userEvent.click(screen.getByLabelText("Only transitions, no facts"));
    await waitFor(() => {
      expect(screen.queryByText("traffic applied")).toBeNull();
    });
    expect(screen.getByText("reason 1")).toBeTruthy();
  });

  test("loads what is older after the newest, to where the log begins", async () => {
    open(TimelineTab, { "GET models/digits/timeline?before=51": page(50, 1), "GET models/digits/timeline": page(100, 51, 51) });
    await userEvent.click(await screen.findByRole("button", { name: "Load older entries" }));
    expect(await screen.findByText("reason 1")).toBeTruthy();
    expect(screen.getByText("reason 100")).toBeTruthy();
    expect(screen.getByText("This is where the log begins.")).toBeTruthy();
  });
});

describe("the versions", () => {
  const THREE = versionsOf([versionOf(3, { status: ["canary"] }), versionOf(2, { status: ["stable", "golden"] }), versionOf(1, { status: ["quarantined"], digest: null, created: null, who: null })]);

  test("are none before the first push", async () => {
    open(VersionsTab, { "GET models/digits/versions": versionsOf([]) });
    expect(await screen.findByText("No versions yet")).toBeTruthy();
  });

  test("are rows with their status, data, metrics, short digest and size", async () => {
    open(VersionsTab, { "GET models/digits/versions": THREE });
    const row = (await screen.findByRole("rowheader", { name: "v-20230602-120000" })).closest("tr");
    expect(row?.textContent).toMatch(/stable.*golden.*model_release_digitsmnist-2accuracy 0.9020123456789ab2 KiB/);
  });

  test("can be compared from two on, and never more than four", async () => {
    open(VersionsTab, { "GET models/digits/versions": versionsOf([1, 2, 3, 4, 5].map((day) => versionOf(day))) });
    const boxes = await screen.findAllByRole<HTMLInputElement>("checkbox");
    const compare = screen.getByRole<HTMLButtonElement>("button", { name: "Compare" });
    expect(compare.disabled).toBe(true);
    for (const box of boxes.slice(0, 4)) await userEvent.click(box);
    expect(boxes[4]?.disabled).toBe(true);
    await userEvent.click(compare);
    expect(address()).toBe("/plugin/model-ops?compare=v-20230601-120000&compare=v-20230602-120000&compare=v-20230603-120000&compare=v-20230604-120000");
  });

  test("say what the ledger could not tell, and are shown all the same", async () => {
    const trouble = { backend: "ledger" as const, reason: "no answer within 2 s" };
    open(VersionsTab, { "GET models/digits/versions": versionsOf([versionOf(1)], 1, { ledger: { value: null, trouble } }) });
    expect(await screen.findByText(/no answer within 2 s/)).toBeTruthy();
    expect(screen.getByRole("rowheader", { name: "v-20230601-120000" })).toBeTruthy();
  });

  test("load more when asked", async () => {
    const { questions } = open(VersionsTab, { "GET models/digits/versions": versionsOf([versionOf(1)], 120) });
    expect(await screen.findByText("50 of 120 versions, newest first")).toBeTruthy();
    await userEvent.click(screen.getByRole("button", { name: "Load more versions" }));
    await waitFor(() => {
      expect(questions.map(({ path }) => path)).toContain("models/digits/versions?limit=50&skip=50");
    });
  });

  test("side by side mark what differs by a sign and in words, and hide the rest when asked", async () => {
    const versions = ["v-20230601-120000", "v-20230602-120000"];
    const both = (one: number, other: number) => ({ [versions[0] ?? ""]: one, [versions[1] ?? ""]: other });
    const metrics = [
      { metric: "accuracy", group: "offline", values: both(0.9, 0.8), events: {}, differs: true },
      { metric: "errors", group: "as canary", values: both(0.01, 0.01), events: both(1200, 30), differs: false },
    ];
    const trouble = { backend: "metrics" as const, reason: "Prometheus is down" };
    open(
      VersionsTab,
      {
        "GET models/digits/versions": THREE,
        "GET models/digits/comparison": { versions, metrics: { value: metrics, trouble: null }, plots: { value: null, trouble }, ledger: { value: true, trouble: null } },
      },
      `/plugin/model-ops?${versions.map((version) => `compare=${version}`).join("&")}`,
    );
    const table = within(await screen.findByRole("region", { name: "Compared numbers" }));
    expect(table.getByRole("rowheader", { name: /differs: accuracy/ })).toBeTruthy();
    expect(table.getByText("of 1,200 events")).toBeTruthy();
    expect(screen.getByText(/Prometheus is down/)).toBeTruthy();
    await userEvent.click(screen.getByLabelText("Only what differs"));
    expect(table.queryByText("errors")).toBeNull();
  });
});

describe("the lineage", () => {
  const GRAPH = {
    version: V3,
    nodes: [nodeOf("train.csv", -1, { detail: { uri: "gs://b/train.csv" } }), nodeOf(V3, 0, { kind: "version", model: "digits" }), nodeOf("entry 9", 1, { kind: "entry" })],
    edges: [{ source: "train.csv", target: V3, label: "trained" }, { source: V3, target: "entry 9", label: "promoted" }],
    truncated: false,
    behind: 3,
    ledger: { value: true, trouble: null },
  };
  const replies = { [`GET models/digits/versions/${V3}/lineage`]: GRAPH, "GET models/digits/versions": versionsOf([versionOf(3), versionOf(2)]) };

  test("shows the canary's first, how far the ledger is behind, and the details of what is chosen", async () => {
    open(LineageTab, replies);
    expect(await screen.findByText(/The ledger is 3 entries behind/)).toBeTruthy();
    await userEvent.click(within(screen.getByRole("region", { name: `Lineage of ${V3}` })).getByRole("button", { name: /train.csv/ }));
    expect(within(screen.getByRole("region", { name: "Details" })).getByText("gs://b/train.csv")).toBeTruthy();
  });

  test("is a list as well, with where each arrow leads in words", async () => {
    open(LineageTab, replies);
    await userEvent.click(await screen.findByRole("button", { name: "List" }));
    const upstream = within(screen.getByRole("region", { name: "Where it comes from" }));
    expect(upstream.getByRole("button", { name: `data train.csv trained ${V3}` })).toBeTruthy();
  });

  test("of another version is asked for when it is picked", async () => {
    const { questions } = open(LineageTab, { "GET models/digits/versions/v-20230602-120000/lineage": GRAPH, ...replies });
    await screen.findByText(/3 entries behind/);
    await userEvent.selectOptions(screen.getByLabelText("Version"), "v-20230602-120000");
    await waitFor(() => {
      expect(questions.at(-1)?.path).toBe("models/digits/versions/v-20230602-120000/lineage");
    });
  });

  test("without the ledger is what the manifest tells, and says so", async () => {
    const trouble = { backend: "ledger", reason: "no answer within 2 s" };
    open(LineageTab, { ...replies, [`GET models/digits/versions/${V3}/lineage`]: { ...GRAPH, behind: 0, ledger: { value: null, trouble } } });
    expect(await screen.findByText(/no answer within 2 s/)).toBeTruthy();
    expect(within(screen.getByRole("region", { name: `Lineage of ${V3}` })).getByRole("button", { name: "data train.csv" })).toBeTruthy();
  });

  test("that the ledger does not know yet says so", async () => {
    open(LineageTab, { ...replies, [`GET models/digits/versions/${V3}/lineage`]: { ...GRAPH, nodes: [], edges: [], behind: 1 } });
    expect(await screen.findByText(/1 entry of the log wait/)).toBeTruthy();
  });
});

test("the tabs have no fault that axe knows", async () => {
  const { container } = open(VersionsTab, { "GET models/digits/versions": versionsOf([versionOf(1), versionOf(2)]) });
  await userEvent.click(await screen.findByRole("button", { name: /^Details and actions of v-20230602/ }));
  const { violations } = await axe.run(container, { rules: { "color-contrast": { enabled: false } } });
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)).toEqual([]);
});
