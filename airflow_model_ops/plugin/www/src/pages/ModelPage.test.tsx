import { cleanup, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useLocation } from "react-router-dom";

import { App } from "../App";
import type { Schemas } from "../api/client";
import { modelOf, rowOf, rowWithCanary } from "../test/answers";
import { Refusal, answering } from "../test/api";
import { show } from "../test/page";

const AT = "/plugin/model-ops/models/digits";

function open(answer: Schemas["ModelAnswer"] | Refusal, at = AT) {
  answering({
    "GET models/digits/traffic": { periods: [], begin: null },
    "GET models/digits/timeline": { before: null, entries: [] },
    "GET models/digits": answer,
    "GET context?dag_id=model_release_digits": { model: "digits", release: "model_release_digits/manual__3" },
    "GET context": { model: null, release: null },
  });
  show(<App />, { at });
}

const part = async (name: string) => within(await screen.findByRole("region", { name }));

test("the page tells what serves, what the judge says and how far the release is", async () => {
  open(modelOf(rowWithCanary("UNDECIDED")));
  expect((await part("What serves now")).getByText(/serves 90 %/)).toBeTruthy();
  const canary = await part("Canary");
  expect(canary.getByText(/^Not decided yet/)).toBeTruthy();
  expect(canary.getByText(/ratio 1.0, from 0.21 to 2.9/)).toBeTruthy();
  const steps = within(canary.getByRole("list", { name: "Steps of the release" })).getAllByRole("listitem");
  expect(steps.map((step) => step.textContent)).toEqual(["✓ 5 %, done", "▸ 10 %, now", "○ 50 %, to come", "○ promote, to come"]);
  expect(steps[1]?.getAttribute("aria-current")).toBe("step");
});

test("each check has a line of its own, and one that does not decide says so", async () => {
  open(modelOf(rowWithCanary("UNDECIDED")));
  const [errors, slow, ...more] = within((await part("Canary")).getByRole("list", { name: "Checks" })).getAllByRole("listitem");
  expect(errors?.textContent).toMatch(/^errors.*undecided.*ratio 1.0/);
  expect(slow?.textContent).toMatch(/^slow.*harmdoes not decide.*over 100 ms/);
  expect(more).toEqual([]);
});

test("where no check can be told of, the judge's sentence is", async () => {
  const row = rowWithCanary(null);
  open(modelOf({ ...row, canary: row.canary && { ...row.canary, reason: "evidence of r cannot be read" } }));
  expect((await part("Canary")).getByText("evidence of r cannot be read")).toBeTruthy();
});

test("the newest change links to the task behind it", async () => {
  open(modelOf(rowWithCanary("UNDECIDED")));
  const link = (await part("Newest change")).getByRole("link", { name: "DAG run" });
  expect(link.getAttribute("href")).toBe("/dags/model_release_digits/runs/manual__3/tasks/shift");
});

test("a fleet that does not answer leaves the rest of the page in place", async () => {
  const trouble = { backend: "fleet" as const, reason: "server-1 did not answer within 2 s" };
  open(modelOf(rowOf(), { observed: { value: null, trouble } }));
  expect((await part("Servers")).getByText(/server-1 did not answer within 2 s/)).toBeTruthy();
  expect((await part("What serves now")).getByText(/serves 100 %/)).toBeTruthy();
});

test("a log that was never read makes nothing of what it may say be told as missing", async () => {
  const trouble = "log entry cannot be read";
  const row = rowOf({ stable: null, stable_since: null, split: [], last_event: null, traffic: "none", trouble });
  open(modelOf(row, { head: null, earlier: [], release: null }));
  for (const card of ["What serves now", "Canary", "Newest change", "Other versions"]) {
    expect((await part(card)).getByText(/^Not known/)).toBeTruthy();
  }
  expect(screen.queryByText(/nothing released|released yet/i)).toBeNull();
});

test("that servers follow is not said of those that do not answer", async () => {
  const trouble = { backend: "fleet" as const, reason: "server-1 did not answer within 2 s" };
  open(modelOf(rowOf({ health: { value: null, trouble } })));
  expect((await part("What serves now")).getByText(/see Servers for what is wrong/)).toBeTruthy();
  expect(screen.queryByText("the servers follow")).toBeNull();
});

test("each server is shown with what it has loaded, and drift with its words", async () => {
  open(modelOf(rowWithCanary("UNDECIDED", { drift: "server-2 serves generation 16" })));
  const servers = await part("Servers");
  expect(servers.getByText("server-2 serves generation 16")).toBeTruthy();
  expect(servers.getByText(/does not answer/)).toBeTruthy();
});

test("a hold is told with who and why on every tab", async () => {
  open(modelOf(rowOf({ hold: { by: "bob", by_person: true, reason: "the audit is on" } })), `${AT}/timeline`);
  expect(await screen.findByText("On hold by bob: no shift and no promotion")).toBeTruthy();
  expect(screen.getByText("the audit is on")).toBeTruthy();
});

test("each tab has an address of its own, which opens it again", async () => {
  open(modelOf(rowOf()));
  await userEvent.click(await screen.findByRole("tab", { name: "Timeline" }));
  await waitFor(() => expect(screen.getByLabelText("address").textContent).toBe(`${AT}/timeline`));
  cleanup();
  open(modelOf(rowOf()), `${AT}/timeline`);
  expect((await screen.findByRole("tab", { name: "Timeline" })).getAttribute("aria-selected")).toBe("true");
  await userEvent.click(screen.getByRole("tab", { name: "Overview" }));
  await waitFor(() => expect(screen.getByLabelText("address").textContent).toBe(AT));
});

test("the focus stays on the tab that was turned to, though Airflow's UI makes the page anew", async () => {
  function Host() {
    return <App key={useLocation().pathname} />;
  }
  answering({ "GET models/digits/traffic": { periods: [], begin: null }, "GET models/digits/timeline": { before: null, entries: [] }, "GET models/digits": modelOf(rowOf()) });
  show(<Host />, { at: AT });
  await userEvent.click(await screen.findByRole("tab", { name: "Timeline" }));
  await waitFor(() => expect(screen.getByLabelText("address").textContent).toBe(`${AT}/timeline`));
  await waitFor(() => expect(document.activeElement).toBe(screen.getByRole("tab", { name: "Timeline" })));
});

test("a reason is shown as it was written, never as markup", async () => {
  const answer = modelOf(rowOf());
  open({ ...answer, head: answer.head && { ...answer.head, reason: "<img src=x onerror=alert(1)>" } });
  expect((await part("Newest change")).getByText("<img src=x onerror=alert(1)>")).toBeTruthy();
});

test("a model that is not there, or may not be seen, is told with what to do", async () => {
  open(new Refusal(404, { detail: "no model 'digits' that you may see; see the list of models" }));
  expect(within(await screen.findByRole("alert")).getByText(/see the list of models/)).toBeTruthy();
  expect(screen.getByRole("link", { name: /All models/ }).getAttribute("href")).toBe("/plugin/model-ops");
});

test("on the page of a release's run the tab shows its model, and links to its evidence", async () => {
  answering({
    "GET context?dag_id=model_release_digits&run_id=manual__3": { model: "digits", release: "model_release_digits/manual__3" },
    "GET models/digits": modelOf(rowWithCanary("SAFE")),
  });
  show(<App dagId="model_release_digits" runId="manual__3" />, { at: "/dags/model_release_digits/runs/manual__3/plugin/model-ops" });
  expect(await screen.findByText(/This run's release is live/)).toBeTruthy();
  expect(screen.getByRole("link", { name: "Its page in Model Ops" }).getAttribute("href")).toBe(AT);
  expect(screen.getByRole("link", { name: "Its evidence" }).getAttribute("href")).toBe(`${AT}/evidence?release=model_release_digits%2Fmanual__3`);
});

test("on the page of any other DAG the tab says that it has nothing to show", async () => {
  answering({ "GET context": { model: null, release: null } });
  show(<App dagId="someone_elses" />, { at: "/dags/someone_elses/plugin/model-ops" });
  expect(await screen.findByText("Nothing to show here")).toBeTruthy();
});
