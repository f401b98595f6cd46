import { type Schemas, post } from "../api/client";

export const ACTIONS = ["rollback", "pin", "hold", "resume", "abort", "lift", "quarantine"] as const;
export type Action = (typeof ACTIONS)[number];

interface Words {
  /** On the button that opens the dialog, and its title. */
  readonly name: string;
  /** On the button that does it. */
  readonly confirm: string;
  /** What it does. */
  readonly explained: string;
  readonly palette: string;
}

export const WORDS: Record<Action, Words> = {
  rollback: { name: "Roll back", confirm: "Roll back", explained: "Takes the model back to a version that served before.", palette: "red" },
  pin: {
    name: "Pin golden",
    confirm: "Pin golden",
    explained: "Pins a version as the known good one. The automation never rolls back past it.",
    palette: "yellow",
  },
  hold: { name: "Hold", confirm: "Put on hold", explained: "Stops shifts and promotions. Abort and rollback stay possible.", palette: "yellow" },
  resume: { name: "Resume", confirm: "End the hold", explained: "Ends the hold: shifts and promotions go on.", palette: "green" },
  abort: {
    name: "Abort release",
    confirm: "Abort the release",
    explained: "Ends the live release. Its canary gets no more traffic; what is stable stays.",
    palette: "red",
  },
  lift: {
    name: "Lift quarantine",
    confirm: "Lift the quarantine",
    explained: "Lets a version be released and rolled back to again.",
    palette: "orange",
  },
  quarantine: {
    name: "Quarantine",
    confirm: "Quarantine",
    explained: "Bans a version: it is never released nor rolled back to until a person lifts that.",
    palette: "red",
  },
};

/** What a person fills in. */
export interface Form {
  readonly reason: string;
  /** Of a rollback: `previous`, `golden` or a version; else the version it is about; empty: the one that is stable. */
  readonly version: string;
  readonly force: boolean;
}

/** The shortest reason that the API takes, and the longest. */
export const REASON = { shortest: 3, longest: 1000 };

export const needsReason = (action: Action) => action !== "pin";
export const needsVersion = (action: Action) => action === "rollback" || action === "lift" || action === "quarantine";

/** Say what is missing in a form, by field; nothing: it may be sent. */
export function missing(action: Action, form: Form): { reason?: string; version?: string } {
  const faults: { reason?: string; version?: string } = {};
  if (needsReason(action) && form.reason.trim().length < REASON.shortest) faults.reason = "Say why: it is kept in the log with your name.";
  if (needsVersion(action) && form.version.trim() === "") faults.version = "Say which version.";
  return faults;
}

/**
 * Ask for an action. It is done by a DAG run in the name of whoever is signed in. A rollback tells which generation its preview was
 * of, so that somebody else's rollback meanwhile counts for this one.
 */
export function send(action: Action, model: string, form: Form, seen: number | null = null): Promise<Schemas["Started"]> {
  const reason = form.reason.trim();
  const version = form.version.trim();
  switch (action) {
    case "rollback":
      return post("/api/v1/models/{model}/rollback", model, { to: version, reason, seen });
    case "pin":
      return post("/api/v1/models/{model}/pin", model, version ? { version } : {});
    case "hold":
      return post("/api/v1/models/{model}/hold", model, { reason });
    case "resume":
      return post("/api/v1/models/{model}/resume", model, { reason });
    case "abort":
      return post("/api/v1/models/{model}/abort", model, { reason });
    case "lift":
      return post("/api/v1/models/{model}/lift", model, { version, reason });
    case "quarantine":
      return post("/api/v1/models/{model}/quarantine", model, { version, reason, force: form.force });
  }
}
