/** What versions are, and how verdicts look: a colour, and always a word or a sign beside it. Semantic tokens only, for both themes. */

export type Role = "stable" | "canary" | "held back";
/** The roles of a model's versions, by name; the others have none. */
export type Roles = Readonly<Record<string, Role>>;

export interface Look {
  readonly palette: string;
  readonly sign: string;
  readonly words: string;
}

export interface VerdictLook extends Look {
  /** What it means for a canary, in a sentence. */
  readonly meaning: string;
}

const VERDICTS: Record<string, VerdictLook> = {
  HARM: { palette: "red", sign: "✕", words: "harm", meaning: "It is shown to be worse than stable: the release ends and the version is quarantined." },
  BREACH: { palette: "red", sign: "✕", words: "breach", meaning: "It crossed a fixed limit: the release ends." },
  SAFE: { palette: "green", sign: "✓", words: "safe", meaning: "It is shown to be no worse than stable at this share: the next step may come." },
  UNDECIDED: { palette: "blue", sign: "…", words: "undecided", meaning: "Not decided yet: neither harm nor safety is shown." },
  NO_DATA: { palette: "gray", sign: "∅", words: "no data", meaning: "There is nothing to judge it by: the step waits." },
  STALE: { palette: "yellow", sign: "!", words: "stale data", meaning: "The numbers are too old to judge it by: the step waits." },
  SPLIT_MISMATCH: { palette: "yellow", sign: "!", words: "split mismatch", meaning: "The traffic does not arrive in the declared shares: the step waits." },
  PROVIDER_DOWN: { palette: "yellow", sign: "!", words: "metrics down", meaning: "The metric source does not answer: the step waits." },
};

/** Return how a verdict looks; one this page does not know is shown as it is. */
export function verdictLook(verdict: string): VerdictLook {
  return VERDICTS[verdict] ?? { palette: "gray", sign: "?", words: verdict.toLowerCase().replaceAll("_", " "), meaning: "" };
}

/** Return the roles of a model's versions, by name. */
export function rolesOf(row: {
  stable: string | null;
  canary: { version: string } | null;
  hold_back: { version: string } | null;
}): Roles {
  return {
    ...(row.hold_back && { [row.hold_back.version]: "held back" as const }),
    ...(row.canary && { [row.canary.version]: "canary" as const }),
    ...(row.stable && { [row.stable]: "stable" as const }),
  };
}

/** What is wrong with saying "none" of a model: its log was never read. `null`: it was, and what the row says is so. */
export function unread(row: { traffic: string; trouble: string | null; fleet: string | null }): string | null {
  if (row.traffic !== "none") return null;
  if (row.trouble !== null) return "not known";
  return row.fleet === null ? "not read yet" : null;
}

const EVENTS: Record<string, string> = {
  start_canary: "canary started",
  shift: "shifted",
  promote: "promoted",
  abort: "aborted",
  rollback: "rolled back",
  pin_golden: "golden pinned",
  quarantine: "quarantined",
  lift: "quarantine lifted",
  hold: "put on hold",
  resume: "hold ended",
  adopt: "adopted",
  retire: "retired",
  applied: "traffic applied",
  pushed: "pushed",
  validated: "validated",
  verdict: "judged",
  retired: "files deleted",
  end_hold_back: "hold-back ended",
};

/** Say an entry of the log in words; one that this page does not know as it is called. */
export function eventWords(name: string): string {
  return EVENTS[name] ?? name.replaceAll("_", " ");
}
