import type { Schemas } from "../api/client";

/** Answers for the tests of the tabs. */
const BEGIN = Date.UTC(2026, 0, 2, 12);

/** An entry of the log: a shift by the release's DAG, a minute after the one before. */
export function entryOf(sequence: number, changes: Partial<Schemas["TimelineEntry"]> = {}): Schemas["TimelineEntry"] {
  return {
    sequence,
    at: new Date(BEGIN + sequence * 60_000).toISOString(),
    name: "shift",
    version: "v-20230603-120000",
    reason: `reason ${sequence}`,
    who: { kind: "automation", name: "model_release_digits" },
    generation: sequence,
    kind: "transition",
    run: null,
    release: null,
    attempt: null,
    split: null,
    verdict: null,
    has_evidence: false,
    ...changes,
  };
}

/** A version made on a day of June 2023. */
export function versionOf(day: number, changes: Partial<Schemas["VersionRow"]> = {}): Schemas["VersionRow"] {
  return {
    version: `v-202306${String(day).padStart(2, "0")}-120000`,
    serving_number: `202306${day}120000`,
    status: ["candidate"],
    created: new Date(Date.UTC(2023, 5, day, 12)).toISOString(),
    who: { kind: "automation", name: "model_release_digits" },
    run: null,
    dataset_version: `mnist-${day}`,
    metrics: { accuracy: 0.9 + day / 1000 },
    hyperparameters: { layers: [16, 8] },
    digest: `sha256:${"0123456789abcdef".repeat(4)}`,
    size: 2048,
    blessed: true,
    trouble: null,
    ...changes,
  };
}

export function versionsOf(versions: Schemas["VersionRow"][], total = versions.length, changes: Partial<Schemas["VersionList"]> = {}): Schemas["VersionList"] {
  return { versions, total, skip: 0, ledger: { value: true, trouble: null }, ...changes };
}

export function nodeOf(id: string, column: number, changes: Partial<Schemas["GraphNode"]> = {}): Schemas["GraphNode"] {
  return { id, kind: "data", label: id, detail: {}, column, run: null, model: null, ...changes };
}
