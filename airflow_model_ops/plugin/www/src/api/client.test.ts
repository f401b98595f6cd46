import { vi } from "vitest";

import { ApiError, apiUrl, get, post, signInUrl } from "./client";

function base(href: string) {
  document.head.innerHTML = `<base href="${href}">`;
}

afterEach(() => {
  document.head.innerHTML = "";
});

function answers(status: number, body: BodyInit, type = "application/json") {
  vi.stubGlobal("fetch", async () => new Response(body, { status, headers: { "Content-Type": type } }));
}

async function refusalOf(promise: Promise<unknown>): Promise<ApiError> {
  const outcome = await promise.catch((error: unknown) => error);
  expect(outcome).toBeInstanceOf(ApiError);
  return outcome as ApiError;
}

test("addresses lie below Airflow's base, wherever that is", () => {
  base("http://host/team/airflow/");
  expect(apiUrl("/api/v1/models")).toBe("http://host/team/airflow/model-ops/api/v1/models");
});

test("names are escaped in paths, lists repeated in queries, and what is not said is left out", () => {
  base("http://host/");
  const asked = { path: { model: "a/b" }, query: { version: ["v1", "v 2"], hours: undefined } };
  expect(apiUrl("/api/v1/models/{model}/comparison", asked)).toBe("http://host/model-ops/api/v1/models/a%2Fb/comparison?version=v1&version=v+2");
});

test("a backend that does not answer is told by name, with its reason", async () => {
  const trouble = { backend: "repository", reason: "no answer within 2 s" };
  answers(503, JSON.stringify({ detail: "the repository does not answer", trouble }));
  expect(await refusalOf(get("/api/v1/models"))).toMatchObject({ status: 503, detail: "the repository does not answer", trouble });
});

test("whoever is not signed in is told so, and where to sign in and come back from", async () => {
  answers(401, JSON.stringify({ detail: "Not authenticated" }));
  const refusal = await refusalOf(get("/api/v1/models"));
  expect(refusal.signedOut).toBe(true);
  expect(refusal.detail).toBe("You are not signed in, or not any more.");
  expect(signInUrl()).toContain(`api/v2/auth/login?next=${encodeURIComponent(window.location.href)}`);
});

test("mistakes in the input are told by field", async () => {
  answers(422, JSON.stringify({ detail: [{ loc: ["body", "reason"], msg: "String should have at least 3 characters", type: "x" }] }));
  const refusal = await refusalOf(post("/api/v1/models/{model}/hold", "digits", { reason: "x" }));
  expect(refusal.detail).toBe("reason: String should have at least 3 characters");
});

test("a proxy's page of HTML is no answer, and is never shown as one", async () => {
  answers(502, "<html>Bad gateway</html>", "text/html");
  expect(await refusalOf(get("/api/v1/models"))).toMatchObject({ status: 502, detail: "Airflow answered 502 and gave no reason." });
  answers(200, "<html>Sign in to the network</html>", "text/html");
  expect((await refusalOf(get("/api/v1/models"))).detail).toContain("no JSON");
});

test("a way that is down and a server that hangs are told apart", async () => {
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
  expect(await refusalOf(get("/api/v1/models"))).toMatchObject({ status: 0, detail: "Airflow cannot be reached." });
  vi.stubGlobal("fetch", () => Promise.reject(new DOMException("", "TimeoutError")));
  expect((await refusalOf(get("/api/v1/models"))).detail).toBe("Airflow did not answer within 30 s.");
});

test("an answer that is cut off is none, whatever its status has promised; a refusal is one all the same", async () => {
  const cut = (reason: Error) => new ReadableStream({ start: (body) => body.error(reason) });
  answers(200, cut(new TypeError("network error")));
  expect(await refusalOf(get("/api/v1/models"))).toMatchObject({ status: 0, detail: "Airflow cannot be reached." });
  answers(200, cut(new DOMException("", "TimeoutError")));
  expect(await refusalOf(get("/api/v1/models"))).toMatchObject({ status: 0, detail: "Airflow did not answer within 30 s." });
  answers(503, cut(new TypeError("network error")));
  expect(await refusalOf(get("/api/v1/models"))).toMatchObject({ status: 503 });
});

test("a wish is sent as JSON to its model", async () => {
  const seen: [string, RequestInit][] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    seen.push([url, init]);
    return Response.json({ dag_id: "model_rollback", run_id: "r" }, { status: 202 });
  });
  const started = await post("/api/v1/models/{model}/rollback", "digits", { to: "golden", reason: "bad" });
  expect(started.run_id).toBe("r");
  expect(seen[0]?.[0]).toMatch(/model-ops\/api\/v1\/models\/digits\/rollback$/);
  expect(seen[0]?.[1]).toMatchObject({ method: "POST", credentials: "same-origin", body: '{"to":"golden","reason":"bad"}' });
});
