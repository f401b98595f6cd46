import { vi } from "vitest";

/** What was asked of the API, in order. */
export interface Question {
  readonly method: string;
  /** Below `/api/v1/`, with its query. */
  readonly path: string;
  readonly body: unknown;
}

type Reply = unknown | ((question: Question) => unknown);

/** An answer with a status of its own, such as a refusal. */
export class Refusal {
  constructor(
    readonly status: number,
    readonly body: unknown,
  ) {}
}

/**
 * Put an API of canned answers in the place of the server, by the beginning of `METHOD path`; the first that fits counts.
 * Return the questions, which grow as the page asks.
 */
export function answering(replies: Record<string, Reply>): Question[] {
  const questions: Question[] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    const path = new URL(url).pathname.split("/api/v1/")[1] + new URL(url).search;
    const question = { method: init.method ?? "GET", path, body: init.body ? (JSON.parse(String(init.body)) as unknown) : undefined };
    questions.push(question);
    const fits = Object.keys(replies).find((start) => `${question.method} ${path}`.startsWith(start));
    if (fits === undefined) return Response.json({ detail: `nothing is known of ${path}` }, { status: 404 });
    const reply = replies[fits];
    const answer: unknown = typeof reply === "function" ? await (reply as (question: Question) => unknown)(question) : reply;
    if (answer instanceof Refusal) return Response.json(answer.body, { status: answer.status });
    return Response.json(answer, { status: question.method === "POST" ? 202 : 200 });
  });
  return questions;
}
