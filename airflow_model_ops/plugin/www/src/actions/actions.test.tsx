import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";

import type { Schemas } from "../api/client";
import { ModelPage } from "../pages/ModelPage";
import { STARTED, modelOf, offersOf, previewOf, progressOf, rowOf, rowWithCanary } from "../test/answers";
import { type Question, Refusal, answering } from "../test/api";
import { show } from "../test/page";
import { versionOf, versionsOf } from "../test/tabs";

const CANARY = modelOf(rowWithCanary("UNDECIDED", { golden: "v-20230601-120000" }));
const PERIODS: Schemas["TrafficHistory"] = { periods: [], begin: null };
const VERSIONS: Schemas["VersionList"] = { versions: [], total: 0, skip: 0, ledger: { value: true, trouble: null } };

function open(answer: Schemas["ModelAnswer"], replies: Record<string, unknown> = {}): Question[] {
  const questions = answering({
    ...replies,
    "GET models/digits/rollback-preview": replies.preview ?? previewOf(),
    "GET models/digits/actions": replies.progress ?? progressOf(),
    "GET models/digits/traffic": PERIODS,
    "GET models/digits/versions": replies["GET models/digits/versions"] ?? VERSIONS,
    "GET models/digits": answer,
    "POST models/digits": replies.post ?? STARTED,
  });
  show(<ModelPage model="digits" tab="overview" />);
  return questions;
}

const wishes = (questions: Question[]) => questions.filter(({ method }) => method === "POST");
const press = async (name: string | RegExp) => userEvent.click(await screen.findByRole("button", { name }));

/** Put words into a field at once: key by key is slow, and nothing here depends on the keys. */
async function fill(field: HTMLElement, words: string) {
  await userEvent.click(field);
  await userEvent.paste(words);
}

/** Open an action's dialog. */
async function ask(name: string) {
  await press(name);
  return within(await screen.findByRole("dialog"));
}

test("a rollback shows what will happen before it asks for anything", async () => {
  const questions = open(CANARY);
  const dialog = await ask("Roll back");
  expect(await dialog.findByText("The release of v-20230603-120000 ends.")).toBeTruthy();
  expect(dialog.getByRole("img", { name: "Traffic: 100 % v-20230602-120000 (stable)" })).toBeTruthy();
  expect(questions.map(({ path }) => path)).toContain("models/digits/rollback-preview?to=previous");
  expect(wishes(questions)).toEqual([]);
});

test("a rollback without a reason is not asked for, and the page says what is missing", async () => {
  const questions = open(CANARY);
  const dialog = await ask("Roll back");
  await dialog.findByText("The release of v-20230603-120000 ends.");
  await userEvent.click(dialog.getByRole("button", { name: "Roll back" }));
  expect(await dialog.findByText(/Say why/)).toBeTruthy();
  expect(document.activeElement).toBe(dialog.getByLabelText(/Reason/));
  await fill(dialog.getByLabelText(/Reason/), "  x  ");
  await userEvent.click(dialog.getByRole("button", { name: "Roll back" }));
  expect(wishes(questions)).toEqual([]);
});

test("a rollback to golden is asked for with its reason and followed to its end", async () => {
  const stages = [progressOf({ state: "queued" }), progressOf({ message: "waits for the servers" })];
  const end = progressOf({ state: "success", done: true, succeeded: true, message: "v-20230601-120000 serves 100 %", generation: 18 });
  const questions = open(CANARY, { progress: () => stages.shift() ?? end });
  const dialog = await ask("Roll back");
  await userEvent.click(dialog.getByRole("radio", { name: /golden/ }));
  await fill(dialog.getByLabelText(/Reason/), "customers complain");
  await waitFor(() => expect(questions.map(({ path }) => path)).toContain("models/digits/rollback-preview?to=golden"));
  const button = dialog.getByRole<HTMLButtonElement>("button", { name: "Roll back" });
  await waitFor(() => expect(button.disabled).toBe(false));
  await userEvent.click(button);
  const following = within(await screen.findByRole("dialog"));
  const link = await following.findByRole<HTMLAnchorElement>("link", { name: "Its DAG run" });
  expect(link.getAttribute("href")).toBe("/dags/model_rollback/runs/manual__2026");
  expect(await following.findByText("Roll back: done")).toBeTruthy();
  expect(following.getByText(/v-20230601-120000 serves 100 %/)).toBeTruthy();
  expect(wishes(questions)).toEqual([
    { method: "POST", path: "models/digits/rollback", body: { to: "golden", reason: "customers complain", seen: 17 } },
  ]);
});

test("a rollback that is not possible says why, and cannot be asked for", async () => {
  const whyNot = "no version is pinned as golden; pin one first";
  const questions = open(CANARY, { preview: previewOf({ possible: false, why_not: whyNot, target: null, sentences: [] }) });
  const dialog = await ask("Roll back");
  expect(await dialog.findByText(whyNot)).toBeTruthy();
  await fill(dialog.getByLabelText(/Reason/), "customers complain");
  expect(dialog.getByRole<HTMLButtonElement>("button", { name: "Roll back" }).disabled).toBe(true);
  expect(wishes(questions)).toEqual([]);
});

test("a preview that cannot be had stops nobody from going back", async () => {
  const refusal = new Refusal(503, { detail: "the repository did not answer within 2 s", trouble: null });
  const questions = open(CANARY, { preview: refusal });
  const dialog = await ask("Roll back");
  expect(await dialog.findByText("the repository did not answer within 2 s")).toBeTruthy();
  await fill(dialog.getByLabelText(/Reason/), "customers complain");
  await userEvent.click(dialog.getByRole("button", { name: "Roll back" }));
  await waitFor(() => expect(wishes(questions)).toHaveLength(1));
});

test("what the API refuses is shown in the dialog, and can be asked for again", async () => {
  const questions = open(CANARY, { post: new Refusal(409, { detail: "digits is being rolled back already" }) });
  const dialog = await ask("Abort release");
  await fill(dialog.getByLabelText(/Reason/), "wrong data");
  await userEvent.click(dialog.getByRole("button", { name: "Abort the release" }));
  expect(within(await dialog.findByRole("alert")).getByText("digits is being rolled back already")).toBeTruthy();
  await userEvent.click(dialog.getByRole("button", { name: "Abort the release" }));
  await waitFor(() => expect(wishes(questions)).toHaveLength(2));
});

test("a run that failed is told as not done, with what happened", async () => {
  const end = progressOf({ state: "failed", done: true, succeeded: false, message: "v-20230601-120000 is altered: its digest differs" });
  open(CANARY, { progress: end });
  const dialog = await ask("Hold");
  await fill(dialog.getByLabelText(/Reason/), "the audit is on");
  await userEvent.click(dialog.getByRole("button", { name: "Put on hold" }));
  expect(await screen.findByText("Put on hold: not done")).toBeTruthy();
  expect(screen.getByText(/its digest differs/)).toBeTruthy();
});

test("the run is followed on the page when the dialog is closed", async () => {
  open(CANARY);
  const dialog = await ask("Hold");
  await fill(dialog.getByLabelText(/Reason/), "the audit is on");
  await userEvent.click(dialog.getByRole("button", { name: "Put on hold" }));
  await screen.findByText("Put on hold: runs");
  await userEvent.keyboard("{Escape}");
  await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  expect(screen.getByText("Put on hold: runs")).toBeTruthy();
});

test("whoever may do nothing sees no buttons", async () => {
  open(modelOf(rowWithCanary("UNDECIDED", { hold: { by: "bob", by_person: true, reason: "the audit" } }), { offers: offersOf({}, false), quarantined: ["v-1"] }));
  await screen.findByText("What serves now");
  expect(screen.queryByRole("group", { name: "Actions" })).toBeNull();
  for (const name of [/Roll back/, /Resume/, /Lift/]) expect(screen.queryByRole("button", { name })).toBeNull();
});

test("an action that makes no sense now says why when it is pressed, and opens nothing", async () => {
  open(modelOf(rowOf(), { offers: offersOf({ abort: "no release of digits is live" }) }));
  const button = await screen.findByRole("button", { name: "Abort release" });
  expect(button.getAttribute("aria-disabled")).toBe("true");
  await userEvent.click(button);
  expect(screen.getByText("no release of digits is live").hidden).toBe(false);
  expect(screen.queryByRole("dialog")).toBeNull();
});

test("a quarantine is lifted for the version beside whose name the button is", async () => {
  const questions = open(modelOf(rowOf({ quarantined: 1 }), { quarantined: ["v-20230528-120000"], offers: offersOf() }));
  const dialog = await ask("Lift quarantine: v-20230528-120000");
  expect(dialog.getByLabelText<HTMLInputElement>(/Version/).value).toBe("v-20230528-120000");
  await fill(dialog.getByLabelText(/Reason/), "the data was wrong, not the model");
  await userEvent.click(dialog.getByRole("button", { name: "Lift the quarantine" }));
  await waitFor(() => expect(wishes(questions)[0]?.body).toEqual({ version: "v-20230528-120000", reason: "the data was wrong, not the model" }));
});

test("a version of one's choice is one of those that may serve, or any by its name", async () => {
  const versions = [versionOf(3, { status: ["quarantined"] }), versionOf(2), versionOf(1)];
  const questions = open(CANARY, { "GET models/digits/versions": versionsOf(versions) });
  const dialog = await ask("Roll back");
  await userEvent.click(dialog.getByRole("radio", { name: /of your choice/ }));
  const field = await dialog.findByRole("combobox", { name: /Version/ });
  await within(field).findByRole("option", { name: "v-20230602-120000" });
  expect(within(field).queryByRole("option", { name: "v-20230603-120000" })).toBeNull();
  await userEvent.selectOptions(field, "v-20230602-120000");
  await waitFor(() => expect(questions.map(({ path }) => path)).toContain("models/digits/rollback-preview?to=v-20230602-120000"));
  await userEvent.selectOptions(field, "another one, by its name");
  expect(dialog.getByRole<HTMLInputElement>("combobox", { name: /Version/ }).tagName).toBe("INPUT");
});

test("golden is pinned without a reason; with nothing said it is what is stable", async () => {
  const questions = open(CANARY);
  const dialog = await ask("Pin golden");
  expect(dialog.queryByLabelText(/Reason/)).toBeNull();
  await userEvent.click(dialog.getByRole("button", { name: "Pin golden" }));
  await waitFor(() => expect(wishes(questions)).toEqual([{ method: "POST", path: "models/digits/pin", body: {} }]));
});

test("a quarantine needs a version, and takes the only serving one by force alone", async () => {
  const questions = open(CANARY);
  const dialog = await ask("Quarantine");
  await fill(dialog.getByLabelText(/Reason/), "leaks names");
  await userEvent.click(dialog.getByRole("button", { name: "Quarantine" }));
  expect(await dialog.findByText("Say which version.")).toBeTruthy();
  await fill(dialog.getByLabelText(/Version/), "v-20230602-120000");
  await userEvent.click(dialog.getByRole("checkbox"));
  await userEvent.click(dialog.getByRole("button", { name: "Quarantine" }));
  await waitFor(() => expect(wishes(questions)[0]?.body).toEqual({ version: "v-20230602-120000", reason: "leaks names", force: true }));
});
