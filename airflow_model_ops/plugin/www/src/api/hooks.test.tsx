import { act, screen } from "@testing-library/react";
import { vi } from "vitest";

import { listOf, rowOf, rowWithCanary } from "../test/answers";
import { Refusal, answering } from "../test/api";
import { show } from "../test/page";
import { useModels } from "./hooks";
import { PACE } from "./polling";

const LIVE = listOf([rowWithCanary("UNDECIDED")]);
const QUIET = listOf([rowOf()]);

function Models() {
  const { data, error } = useModels();
  return <p>{error ? error.detail : (data?.models.length ?? "reading")}</p>;
}

function look(visible: boolean) {
  vi.spyOn(document, "visibilityState", "get").mockReturnValue(visible ? "visible" : "hidden");
}

async function passes(milliseconds: number) {
  await act(() => vi.advanceTimersByTimeAsync(milliseconds));
}

beforeEach(() => {
  vi.useFakeTimers();
  look(true);
});
afterEach(() => vi.restoreAllMocks());

test("a list in which something is live is asked for at its pace", async () => {
  const questions = answering({ "GET models": LIVE });
  show(<Models />);
  await passes(10);
  expect(questions).toHaveLength(1);
  await passes(PACE.models * 3 + 100);
  expect(questions).toHaveLength(4);
});

test("a list in which nothing is live is asked for once", async () => {
  const questions = answering({ "GET models": QUIET });
  show(<Models />);
  await passes(10 * 60_000);
  expect(questions).toHaveLength(1);
});

test("a list of which the server has not seen all yet is asked for until it has", async () => {
  const unseen = listOf([rowOf({ health: { value: null, trouble: null } })]);
  let seen = false;
  const questions = answering({ "GET models": () => (seen ? QUIET : unseen) });
  show(<Models />);
  await passes(2_100);
  expect(questions).toHaveLength(2);
  seen = true;
  await passes(10 * 60_000);
  expect(questions).toHaveLength(3);
});

test("the questions end when the last release does", async () => {
  let live = true;
  const questions = answering({ "GET models": () => (live ? LIVE : QUIET) });
  show(<Models />);
  await passes(PACE.models + 100);
  live = false;
  await passes(PACE.models);
  const asked = questions.length;
  await passes(10 * 60_000);
  expect(questions).toHaveLength(asked);
});

test("a tab that nobody looks at asks nothing", async () => {
  const questions = answering({ "GET models": LIVE });
  show(<Models />);
  await passes(10);
  look(false);
  await passes(10 * 60_000);
  expect(questions).toHaveLength(1);
});

test("a slow answer is waited for: two questions are never under way at once", async () => {
  let underWay = 0;
  let most = 0;
  answering({
    "GET models": async () => {
      most = Math.max(most, ++underWay);
      await new Promise((done) => setTimeout(done, PACE.models * 3));
      underWay -= 1;
      return LIVE;
    },
  });
  show(<><Models /><Models /></>);
  await passes(PACE.models * 20);
  expect(most).toBe(1);
});

test("after errors it waits ever longer, tells why, and goes on at its pace once there is an answer", async () => {
  let well = false;
  const questions = answering({ "GET models": () => (well ? LIVE : new Refusal(503, { detail: "the repository does not answer", trouble: null })) });
  show(<Models />);
  await passes(10);
  expect(screen.getByText("the repository does not answer")).toBeTruthy();
  await passes(2_000 + 4_000 + 8_000 + 100);
  expect(questions).toHaveLength(4);
  well = true;
  await passes(16_000);
  expect(screen.getByText("1")).toBeTruthy();
  await passes(PACE.models + 100);
  expect(questions).toHaveLength(6);
});

test("a refusal is not asked again", async () => {
  const questions = answering({ "GET models": new Refusal(403, { detail: "you may not" }) });
  show(<Models />);
  await passes(10 * 60_000);
  expect(questions).toHaveLength(1);
});
