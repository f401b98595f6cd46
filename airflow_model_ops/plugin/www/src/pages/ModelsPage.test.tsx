import { cleanup, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";

import { App } from "../App";
import { listOf, rowOf, rowWithCanary } from "../test/answers";
import { Refusal, answering } from "../test/api";
import { show } from "../test/page";

const lines = () => screen.getAllByRole("row").slice(1);

test("one look tells what serves, for how long, with what share, and whether the canary is fine", async () => {
  answering({ "GET models": listOf([rowWithCanary("UNDECIDED")]) });
  show(<App />);
  const row = within((await screen.findByText("digits")).closest("tr") as HTMLElement);
  expect(row.getAllByText("v-20230602-120000")).toHaveLength(1);
  expect(row.getByText("30 h").getAttribute("title")).toBeTruthy();
  expect(row.getByRole("img", { name: "Traffic: 90 % v-20230602-120000 (stable), 10 % v-20230603-120000 (canary)" })).toBeTruthy();
  expect(row.getByText("10 %")).toBeTruthy();
  expect(row.getByText(/undecided/).getAttribute("title")).toMatch(/^errors of/);
  expect(screen.getByText("1 model, none needs attention, 1 canary runs.")).toBeTruthy();
});

test("what needs attention comes first, and the address keeps another order and what is searched for", async () => {
  answering({ "GET models": listOf([rowOf({ model: "alpha" }), rowWithCanary("HARM", { model: "omega" })]) });
  show(<App />);
  await screen.findByText("alpha");
  expect(lines().map((line) => within(line).getByRole("link").textContent)).toEqual(["omega", "alpha"]);
  await userEvent.selectOptions(screen.getByLabelText("Order"), "name");
  expect(lines().map((line) => within(line).getByRole("link").textContent)).toEqual(["alpha", "omega"]);
  await userEvent.type(screen.getByLabelText("Search"), "omeg");
  expect(lines()).toHaveLength(1);
  expect(screen.getByLabelText("address").textContent).toBe("/plugin/model-ops?order=name&q=omeg");
});

test("of many models the first are drawn, the others on demand, and a search goes through all", async () => {
  answering({ "GET models": listOf(Array.from({ length: 45 }, (_, index) => rowOf({ model: `model-${String(index).padStart(2, "0")}` }))) });
  show(<App />);
  await userEvent.click(await screen.findByRole("button", { name: "Show more: 15 of 45 are not shown" }));
  expect(lines()).toHaveLength(45);
  cleanup();
  show(<App />, { at: "/plugin/model-ops?q=model-44" });
  expect(await screen.findByText("model-44")).toBeTruthy();
});

test("of a model whose log was never read no field says that there is none", async () => {
  const row = rowOf({ model: "torn", stable: null, split: [], last_event: null, traffic: "none", trouble: "log entry cannot be read" });
  answering({ "GET models": listOf([row, { ...row, model: "new", fleet: null, trouble: null }]) });
  show(<App />);
  await screen.findByText("torn");
  const [torn, unread] = lines().map((line) => within(line));
  expect(torn?.getAllByText("not known")).toHaveLength(6);
  expect(unread?.getAllByText("not read yet")).toHaveLength(6);
});

test("a search that finds nothing says so", async () => {
  answering({ "GET models": listOf([rowOf()]) });
  show(<App />, { at: "/plugin/model-ops?q=nosuch" });
  expect(await screen.findByText('No model matches "nosuch"')).toBeTruthy();
});

test("files with mistakes are counted, with a link to what is wrong", async () => {
  answering({ "GET models": listOf([rowOf()], { mistakes: 2 }) });
  show(<App />);
  expect(await screen.findByText(/2 YAML files have mistakes/)).toBeTruthy();
  expect(screen.getByRole("link", { name: "Airflow's import errors" }).getAttribute("href")).toBe("/");
});

test("no models is no error: the page says how one gets there", async () => {
  answering({ "GET models": listOf([]) });
  show(<App />);
  expect(await screen.findByText("No models to show")).toBeTruthy();
});

test("a list that cannot be read says why, and is read when asked again", async () => {
  let well = false;
  answering({ "GET models": () => (well ? listOf([rowOf()]) : new Refusal(409, { detail: "models_dir is not set" })) });
  show(<App />);
  expect(within(await screen.findByRole("alert")).getByText("models_dir is not set")).toBeTruthy();
  well = true;
  await userEvent.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByText("digits")).toBeTruthy();
});

test("whoever is signed out gets a way to sign in", async () => {
  answering({ "GET models": new Refusal(401, {}) });
  show(<App />);
  expect((await screen.findByRole("link", { name: "Sign in" })).getAttribute("href")).toContain("api/v2/auth/login?next=");
});

test("servers that cannot be asked, and a model that nothing is known of, are told as such", async () => {
  const health = { value: null, trouble: { backend: "fleet" as const, reason: "no answer within 2 s" } };
  answering({ "GET models": listOf([rowOf({ model: "dark", health }), rowOf({ model: "new", stable: null, split: [], traffic: "none", last_event: null })]) });
  show(<App />);
  expect((await screen.findByText("! not known")).getAttribute("title")).toBe("no answer within 2 s");
  expect(screen.getByText("nothing released yet")).toBeTruthy();
});
