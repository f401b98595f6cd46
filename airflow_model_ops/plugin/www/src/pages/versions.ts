import type { Schemas } from "../api/client";
import type { Sign } from "../charts/sign";

/** How many versions can be compared at once, as the API has it. */
export const COMPARED = { least: 2, most: 4 } as const;

/** The selection after a version was ticked or unticked; a fifth one does not fit and changes nothing. */
export function toggled(selection: readonly string[], version: string): readonly string[] {
  if (selection.includes(version)) {
    return selection.filter((other) => other !== version);
  }
  return selection.length < COMPARED.most ? [...selection, version] : selection;
}

/** Why the selection cannot be compared as it is; `null`: it can. */
export function whyNotCompared(selection: readonly string[]): string | null {
  return selection.length < COMPARED.least ? "Tick 2 to 4 versions to compare them." : null;
}

/** The versions that an address asks to compare; `null`: none, or not a number of them that can be. */
export function comparedIn(asked: URLSearchParams): readonly string[] | null {
  const versions = [...new Set(asked.getAll("compare"))].slice(0, COMPARED.most);
  return versions.length < COMPARED.least ? null : versions;
}

const STATUSES: Record<string, { readonly sign: string; readonly palette: string }> = {
  stable: { sign: "●", palette: "blue" },
  canary: { sign: "◔", palette: "orange" },
  golden: { sign: "★", palette: "yellow" },
  "held back": { sign: "◑", palette: "purple" },
  quarantined: { sign: "⊘", palette: "red" },
  retired: { sign: "−", palette: "gray" },
};

/** How a status of a version looks; the quiet ones have a word only. */
export function statusLook(status: string): Sign {
  return { ...(STATUSES[status] ?? { sign: "", palette: "gray" }), words: status };
}

/** The first few characters of a digest, without its algorithm: enough to tell versions apart by eye. */
export function shortDigest(digest: string): string {
  return (digest.split(":").at(-1) ?? digest).slice(0, 12);
}

/** The metrics that say most in the table: as many of the first as fit. */
export function mainMetrics(metrics: Readonly<Record<string, number>>, most = 3): { shown: [string, number][]; more: number } {
  const all = Object.entries(metrics);
  return { shown: all.slice(0, most), more: Math.max(0, all.length - most) };
}

const GROUPS = ["about", "offline", "validation", "as canary", "as stable"];
const GROUP_WORDS: Record<string, string> = {
  about: "About",
  offline: "Offline, when it was trained",
  validation: "At its validation",
  "as canary": "In traffic, as canary",
  "as stable": "In traffic, as stable",
};

export interface MetricGroup {
  readonly group: string;
  readonly title: string;
  readonly metrics: readonly Schemas["ComparedMetric"][];
}

/** The compared metrics by group, in the order of a version's life; groups that this page does not know come last. */
export function byGroup(metrics: readonly Schemas["ComparedMetric"][]): MetricGroup[] {
  const rank = (group: string) => (GROUPS.includes(group) ? GROUPS.indexOf(group) : GROUPS.length);
  const names = [...new Set(metrics.map(({ group }) => group))].sort((a, b) => rank(a) - rank(b));
  return names.map((group) => ({
    group,
    title: GROUP_WORDS[group] ?? group,
    metrics: metrics.filter((metric) => metric.group === group),
  }));
}
