import type { Role, Roles } from "../looks";

/** How a version looks in every bar and chart: a colour, and a pattern or a dash for eyes and printers that see no colours. */
export interface VersionStyle {
  readonly color: string;
  readonly pattern: PatternKind;
  readonly dash: string | undefined;
}

export type PatternKind = "plain" | "diagonal" | "dots" | "horizontal" | "cross" | "vertical" | "steep" | "squares";

/** A Chakra colour as CSS, for SVG attributes, which know no style props. */
export function token(name: string): string {
  return `var(--chakra-colors-${name.replace(/\./g, "-")})`;
}

const solid = (hue: string, pattern: PatternKind, dash?: string): VersionStyle => ({ color: token(`${hue}.solid`), pattern, dash });

const OF_ROLES: Readonly<Record<Role, VersionStyle>> = {
  stable: solid("blue", "plain"),
  canary: solid("orange", "diagonal", "6 3"),
  "held back": solid("purple", "horizontal", "10 3 2 3"),
};

/** The looks of versions without a role; none is that of one. */
const OTHERS: readonly VersionStyle[] = [
  solid("teal", "dots", "2 3"),
  solid("pink", "cross", "8 2"),
  solid("green", "vertical", "4 2"),
  solid("cyan", "steep", "1 4"),
  solid("yellow", "squares", "12 4"),
  solid("gray", "dots", "5 5"),
  solid("teal", "cross", "3 3 9 3"),
  solid("pink", "vertical", "14 3 2 3 2 3"),
];

export const FALLBACK_STYLE: VersionStyle = { color: token("fg.muted"), pattern: "plain", dash: undefined };

function slotOf(version: string): number {
  let hash = 0;
  for (const character of version) {
    hash = (Math.imul(hash, 31) + character.charCodeAt(0)) >>> 0;
  }
  return hash % OTHERS.length;
}

/**
 * The style of each version. One with a role looks as its role does. Another prefers a slot of its own name, so that it looks the
 * same in other charts and when the window moves; where two prefer one slot, the later name takes the next free one.
 */
export function stylesOf(versions: Iterable<string>, roles: Roles = {}): ReadonlyMap<string, VersionStyle> {
  const styles = new Map<string, VersionStyle>();
  let taken = new Set<number>();
  for (const version of [...new Set(versions)].sort()) {
    const role = roles[version];
    if (role !== undefined) {
      styles.set(version, OF_ROLES[role]);
      continue;
    }
    if (taken.size === OTHERS.length) {
      taken = new Set();
    }
    let slot = slotOf(version);
    while (taken.has(slot)) {
      slot = (slot + 1) % OTHERS.length;
    }
    taken.add(slot);
    styles.set(version, OTHERS[slot] ?? FALLBACK_STYLE);
  }
  return styles;
}
