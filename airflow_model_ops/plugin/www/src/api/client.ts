import { hostUrl } from "../host";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Trouble = Schemas["Trouble"];

type PathsWith<Method extends "get" | "post"> = {
  [P in keyof paths]: paths[P] extends Record<Method, object> ? P : never;
}[keyof paths];
export type GetPath = PathsWith<"get">;
export type PostPath = PathsWith<"post">;

type Json<Response> = Response extends { content: { "application/json": infer Body } } ? Body : never;
type Parameters_<Operation> = Operation extends { parameters: infer P } ? P : never;
type PathOf<Operation> = Parameters_<Operation> extends { path: infer P } ? P : undefined;
type QueryOf<Operation> = Parameters_<Operation> extends { query?: infer Q } ? Q : undefined;

export type Answer<P extends GetPath> = paths[P]["get"] extends { responses: { 200: infer R } } ? Json<R> : never;
export type Asked<P extends GetPath> = { path?: PathOf<paths[P]["get"]>; query?: QueryOf<paths[P]["get"]> };
export type Wish<P extends PostPath> = paths[P]["post"] extends { requestBody: infer B } ? Json<B> : never;
export type Outcome<P extends PostPath> = paths[P]["post"] extends { responses: { 202: infer R } } ? Json<R> : never;

/** Where the plugin's app is mounted, below Airflow's base. */
const MOUNT = "model-ops";
/** Milliseconds. Longer than any time-out of the server's own: a request that hangs must not stop the page for ever. */
const PATIENCE = 30_000;

/** An answer that is none: what the API, or the way to it, said instead. */
export class ApiError extends Error {
  constructor(
    /** HTTP status; 0: nothing answered at all. */
    readonly status: number,
    /** For people: what is wrong and what to do. */
    readonly detail: string,
    /** Which backend it was, where the API knows. */
    readonly trouble: Trouble | null = null,
  ) {
    super(detail);
    this.name = "ApiError";
  }

  /** Whether signing in again is the remedy. */
  get signedOut(): boolean {
    return this.status === 401;
  }
}

/** Where a person signs in, and comes back from to the page that is open. */
export function signInUrl(): string {
  return hostUrl(`api/v2/auth/login?next=${encodeURIComponent(window.location.href)}`);
}

/** Return the whole address of a route of the API: path parameters filled in, `undefined` and `null` left out of the query. */
export function apiUrl(path: string, asked: { path?: unknown; query?: unknown } = {}): string {
  const values = (asked.path ?? {}) as Record<string, unknown>;
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(values[name])));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries((asked.query ?? {}) as Record<string, unknown>)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null) query.append(name, String(one));
    }
  }
  return hostUrl(`${MOUNT}${filled}${query.size ? `?${query}` : ""}`);
}

/** Read something. */
export function get<P extends GetPath>(path: P, asked: Asked<P> = {}): Promise<Answer<P>> {
  return request(apiUrl(path, asked), { method: "GET" }) as Promise<Answer<P>>;
}

/** Ask for an action; it is done by the DAG run that the answer names. */
export function post<P extends PostPath>(path: P, model: string, wish: Wish<P>): Promise<Outcome<P>> {
  const body = JSON.stringify(wish);
  const headers = { "Content-Type": "application/json" };
  return request(apiUrl(path, { path: { model } }), { method: "POST", headers, body }) as Promise<Outcome<P>>;
}

async function request(url: string, init: RequestInit): Promise<unknown> {
  const response = await fetch(url, {
    ...init,
    headers: { Accept: "application/json", ...init.headers },
    credentials: "same-origin",
    signal: AbortSignal.timeout(PATIENCE),
  }).catch((error: unknown) => {
    throw new ApiError(0, unreachable(error));
  });
  const body = await json(response);
  if (!response.ok) throw refusal(response.status, body);
  if (body === undefined) throw new ApiError(response.status, "Airflow's answer is no JSON; a proxy may be in between.");
  return body;
}

async function json(response: Response): Promise<unknown> {
  const text = await response.text().catch((error: unknown) => {
    if (response.ok) throw new ApiError(0, unreachable(error)); // half an answer is none, and worth asking for again
    return "";
  });
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a proxy's page of HTML, or nothing: told by the status
  }
}

function unreachable(error: unknown): string {
  const late = error instanceof DOMException && error.name === "TimeoutError";
  return late ? `Airflow did not answer within ${PATIENCE / 1000} s.` : "Airflow cannot be reached.";
}

function refusal(status: number, body: unknown): ApiError {
  if (status === 401) return new ApiError(401, "You are not signed in, or not any more.");
  const { detail, trouble } = (body ?? {}) as { detail?: unknown; trouble?: Trouble | null };
  return new ApiError(status, sentence(detail) ?? `Airflow answered ${status} and gave no reason.`, trouble ?? null);
}

/** FastAPI's `detail`: a sentence, or a list of what is wrong with the input. */
function sentence(detail: unknown): string | null {
  if (typeof detail === "string" && detail !== "") return detail;
  if (!Array.isArray(detail)) return null;
  const faults = (detail as Schemas["ValidationError"][]).map(({ loc, msg }) => `${loc.at(-1) ?? "input"}: ${msg}`);
  return faults.length ? faults.join("; ") : null;
}
