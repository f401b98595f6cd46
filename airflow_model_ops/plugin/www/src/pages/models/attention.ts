import type { Schemas } from "../../api/client";
import { verdictLook } from "../../looks";

type Row = Schemas["ModelRow"];

/** Why a person should look at a model, and how soon: the smaller the rank, the sooner. */
export interface Attention {
  readonly rank: number;
  /** In a few words; `null`: nothing is the matter. */
  readonly words: string | null;
  readonly palette: string;
}

export const QUIET = 7;
/** From here on nothing is wrong. */
export const FINE = 6;

/** Return why to look at a model. Of several reasons the gravest counts: what serves badly comes before what merely waits. */
export function attention(row: Row): Attention {
  const verdict = row.canary?.verdict ?? null;
  const health = row.health.value;
  if (verdict === "HARM" || verdict === "BREACH") return { rank: 0, words: `canary: ${verdictLook(verdict).words}`, palette: "red" };
  if (health?.reason) return { rank: 1, words: "servers in trouble", palette: "red" };
  if (row.trouble) return { rank: 2, words: "log unreadable", palette: "red" };
  if (row.drift) return { rank: 3, words: "drift", palette: "orange" };
  if (frozen(verdict)) return { rank: 4, words: `canary: ${verdictLook(verdict ?? "").words}`, palette: "orange" };
  if (row.hold) return { rank: 5, words: `on hold by ${row.hold.by}`, palette: "yellow" };
  if (row.live) return { rank: FINE, words: row.canary ? "canary runs" : row.traffic === "changing" ? "changing" : "live", palette: "blue" };
  return { rank: QUIET, words: null, palette: "gray" };
}

/** Whether a canary cannot go on, for want of numbers to judge it by. */
function frozen(verdict: string | null): boolean {
  return verdict !== null && ["NO_DATA", "STALE", "SPLIT_MISMATCH", "PROVIDER_DOWN"].includes(verdict);
}

export const ORDERS = {
  attention: "needs attention first",
  name: "name",
  event: "newest event first",
  since: "newest stable first",
} as const;
export type Order = keyof typeof ORDERS;

const byName = (a: Row, b: Row) => a.model.localeCompare(b.model);
const newest = (a: string | null | undefined, b: string | null | undefined) => (b ?? "").localeCompare(a ?? "");

const COMPARE: Record<Order, (a: Row, b: Row) => number> = {
  // By name within a rank, so that rows do not jump about while something is live.
  attention: (a, b) => attention(a).rank - attention(b).rank || byName(a, b),
  name: byName,
  event: (a, b) => newest(a.last_event?.at, b.last_event?.at) || byName(a, b),
  since: (a, b) => newest(a.stable_since, b.stable_since) || byName(a, b),
};

/** Return the models to show: those with all words of the search in their name, fleet or versions, in an order. */
export function shown(models: readonly Row[], { search, order }: { search: string; order: Order }): Row[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (row: Row) => {
    const text = [row.model, row.fleet, row.platform, row.stable, row.canary?.version, row.golden, row.hold?.by].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  };
  return models.filter(matches).toSorted(COMPARE[order]);
}

/** Say in one line how all models are. */
export function summary(models: readonly Row[]): string {
  const worrying = models.filter((row) => attention(row).rank < FINE).length;
  const canaries = models.filter((row) => row.canary).length;
  const parts = [
    `${models.length} ${models.length === 1 ? "model" : "models"}`,
    worrying ? `${worrying} ${worrying === 1 ? "needs" : "need"} attention` : "none needs attention",
    canaries ? `${canaries} ${canaries === 1 ? "canary runs" : "canaries run"}` : "no canary runs",
  ];
  return parts.join(", ");
}
