import type { Schemas } from "../api/client";

/** Answers of the API for tests: a model with a canary at 10 %, and what else a test asks for. */

const HOUR = 3_600_000;
const at = (hoursAgo: number) => new Date(Date.now() - hoursAgo * HOUR).toISOString();

export function rowOf(changes: Partial<Schemas["ModelRow"]> = {}): Schemas["ModelRow"] {
  return {
    model: "digits",
    fleet: "main",
    platform: "tf_serving",
    stable: "v-20230602-120000",
    stable_since: at(30),
    split: [{ version: "v-20230602-120000", percent: 100 }],
    canary: null,
    hold_back: null,
    golden: null,
    quarantined: 0,
    hold: null,
    last_event: {
      sequence: 12,
      at: at(1),
      name: "promote",
      version: "v-20230602-120000",
      reason: "errors: no worse than stable",
      who: { kind: "automation", name: "model_release_digits" },
    },
    traffic: "applied",
    live: false,
    drift: null,
    health: { value: { answering: 2, servers: 2, reason: null }, trouble: null },
    trouble: null,
    ...changes,
  };
}

/** A row whose canary has a share and a verdict. */
export function rowWithCanary(verdict: string | null, changes: Partial<Schemas["ModelRow"]> = {}): Schemas["ModelRow"] {
  const reason = "errors of v-20230603-120000 4.9 % (19 of 390) against stable's 5.0 % (175 of 3,510): ratio 1.0, from 0.21 to 2.9";
  return rowOf({
    canary: { version: "v-20230603-120000", percent: 10, verdict, reason, checks: checksOf(verdict, reason), judged_at: at(0.01) },
    split: [
      { version: "v-20230602-120000", percent: 90 },
      { version: "v-20230603-120000", percent: 10 },
    ],
    live: true,
    ...changes,
  });
}

function checksOf(verdict: string | null, reason: string): Schemas["CheckRow"][] {
  return verdict === null ? [] : [
    { check: "errors", verdict, reason, decides: true },
    { check: "slow", verdict: "HARM", reason: "slow: 9 of 390 over 100 ms", decides: false },
  ];
}

export function listOf(models: Schemas["ModelRow"][], changes: Partial<Schemas["ModelList"]> = {}): Schemas["ModelList"] {
  return { models, age_seconds: 2, complete: true, mistakes: 0, ...changes };
}

const NAMES = ["rollback", "pin", "hold", "resume", "abort", "lift", "quarantine"];

/** Offers of all actions, each possible and allowed but for the refusals given. */
export function offersOf(refused: Record<string, string> = {}, allowed = true): Schemas["Offer"][] {
  return NAMES.map((action) => ({ action, allowed, why_not: refused[action] ?? null, dag_id: `model_${action}` }));
}

export function modelOf(row: Schemas["ModelRow"], changes: Partial<Schemas["ModelAnswer"]> = {}): Schemas["ModelAnswer"] {
  return {
    row,
    head: {
      generation: 17,
      at: at(0.2),
      action: "shift",
      reason: "step 2 of 3",
      who: { kind: "automation", name: "model_release_digits" },
      run: { dag_id: "model_release_digits", run_id: "manual__3", task_id: "shift" },
      applied_at: at(0.19),
    },
    earlier: ["v-20230601-120000"],
    quarantined: [],
    release: row.canary && {
      id: "model_release_digits/manual__3",
      attempt: 1,
      version: row.canary.version,
      started_at: at(0.5),
      run: { dag_id: "model_release_digits", run_id: "manual__3", task_id: null },
      steps: [5, 10, 50],
    },
    release_dag: "model_release_digits",
    observed: {
      value: {
        generation: 17,
        split: row.split,
        servers: [
          { name: "server-1", answers: true, loaded: row.split.map(({ version }) => version) },
          { name: "server-2", answers: false, loaded: [] },
        ],
        labels: { stable: row.stable, canary: row.canary?.version ?? null },
      },
      trouble: null,
    },
    offers: offersOf({ resume: "the model is not on hold", lift: "no version is quarantined" }),
    user: "ada",
    ...changes,
  };
}

export function previewOf(changes: Partial<Schemas["Preview"]> = {}): Schemas["Preview"] {
  return {
    to: "previous",
    generation: 17,
    possible: true,
    why_not: null,
    target: "v-20230602-120000",
    before: rowWithCanary(null).split,
    after: [{ version: "v-20230602-120000", percent: 100 }],
    ends_release: true,
    warm: true,
    sentences: ["The release of v-20230603-120000 ends.", "v-20230602-120000 serves 100 %; it is loaded on every server, so that it takes seconds."],
    ...changes,
  };
}

export const STARTED: Schemas["Started"] = { dag_id: "model_rollback", run_id: "manual__2026" };

export function progressOf(changes: Partial<Schemas["Progress"]> = {}): Schemas["Progress"] {
  return { ...STARTED, state: "running", done: false, succeeded: null, message: "", generation: null, ...changes };
}
