import { ApiError } from "./client";

/**
 * When the page asks again, all in one place.
 *
 * It polls only while something is live and the tab is visible; else it asks when the tab is looked at again, or when the person
 * says so. A next request waits for the one before. After an error it waits longer each time.
 */

/** Milliseconds between two questions while something is live. */
export const PACE = { models: 5_000, model: 3_000, timeline: 5_000, traffic: 10_000, evidence: 5_000, progress: 1_000 };
/** While the server still looks at something for the first time; and how long that is worth asking for, counted from the first answer. */
const FILLING = 2_000;
const PATIENCE = 30_000;

const FIRST_WAIT = 2_000;
const LONGEST_WAIT = 60_000;

/** Return the milliseconds until the next question; 0: none. */
export function pace(subject: keyof typeof PACE, live: boolean): number {
  return live ? PACE[subject] : 0;
}

/** Return the milliseconds until a list is asked for again, some of whose rows the server has not filled yet. */
export function paceOfFilling(waited: number): number {
  return waited < PATIENCE ? FILLING : 0;
}

/** Return the milliseconds to wait after the nth error in a row (from 1). */
export function waitAfterError(nth: number): number {
  return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.max(0, nth - 1));
}

/** Whether the same question may be answered later: a backend that rests, a way that is down; not a refusal. */
export function worthAskingAgain(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return error.status === 0 || error.status === 429 || error.status >= 500;
}
