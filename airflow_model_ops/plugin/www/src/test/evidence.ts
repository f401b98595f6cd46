import type { Schemas } from "../api/client";

const BEGIN = Date.UTC(2026, 0, 2, 12);

/** A moment of a check, ten seconds after the one before, undecided. */
export function pointOf(index: number, changes: Partial<Schemas["Point"]> = {}): Schemas["Point"] {
  return {
    at: new Date(BEGIN + index * 10_000).toISOString(),
    percent: 5,
    ratio: 1.1,
    low: 0.7,
    high: 1.8,
    canary_bad: 12,
    canary_total: 600,
    stable_bad: 220,
    stable_total: 12_000,
    value: null,
    stable_value: null,
    harm: 0.2,
    safe: 0.4,
    verdict: "UNDECIDED",
    ...changes,
  };
}

/** A check on the share of bad events, with lines at 1.1 and 1.5. */
export function checkOf(points: Schemas["Point"][], changes: Partial<Schemas["CheckSeries"]> = {}): Schemas["CheckSeries"] {
  return {
    check: "errors",
    description: "Error rate",
    kind: "share",
    muted: false,
    rollback_line: 1.1,
    promotion_line: 1.5,
    limits: {},
    harm_line: 2,
    safe_line: 1.3,
    points,
    reason: "errors of v-20230603-120000 2.0 % against stable's 1.8 %",
    verdict: points.at(-1)?.verdict ?? "NO_DATA",
    ...changes,
  };
}

export function evidenceOf(checks: Schemas["CheckSeries"][], changes: Partial<Schemas["EvidenceSeries"]> = {}): Schemas["EvidenceAnswer"] {
  const series: Schemas["EvidenceSeries"] = {
    release: "model_release_digits/manual__3",
    attempt: 1,
    version: "v-20230603-120000",
    stable: "v-20230602-120000",
    confidence: 0.99,
    steps: [{ at: new Date(BEGIN).toISOString(), percent: 5, watch: false }],
    checks,
    verdict: "UNDECIDED",
    reason: "neither proven good nor bad so far",
    live: false,
    ...changes,
  };
  const { release, attempt, version } = series;
  const at = new Date(BEGIN).toISOString();
  return {
    series,
    releases: [
      { release, attempt, version, at, outcome: series.live ? null : "promote" },
      { release: "model_release_digits/manual__2", attempt: 2, version: "v-20230602-120000", at, outcome: "abort" },
    ],
  };
}
