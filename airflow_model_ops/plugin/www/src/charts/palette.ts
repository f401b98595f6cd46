/** How a version looks in every chart: a colour, and a pattern or a dash for eyes and printers that see no colours. */
export interface VersionStyle {
  readonly color: string;
  readonly pattern: PatternKind;
  readonly dash: string | undefined;
}

export type PatternKind = "plain" | "diagonal" | "dots" | "horizontal" | "cross" | "vertical" | "steep" | "squares";

const HUES = ["blue", "orange", "teal", "purple", "pink", "green", "cyan", "yellow"] as const;
const PATTERNS: readonly PatternKind[] = ["plain", "diagonal", "dots", "horizontal", "cross", "vertical", "steep", "squares"];
const DASHES: readonly (string | undefined)[] = [undefined, "6 3", "2 3", "10 3 2 3", "8 2", "4 2", "1 4", "12 4"];

/** A Chakra colour as CSS, for SVG attributes, which know no style props. */
export function token(name: string): string {
  return `var(--chakra-colors-${name.replace(/\./g, "-")})`;
}

function slotOf(version: string): number {
  let hash = 0;
  for (const character of version) {
    hash = (Math.imul(hash, 31) + character.charCodeAt(0)) >>> 0;
  }
  return hash % HUES.length;
}

/**
 * The style of each version. A version prefers a slot of its own name, so that it looks the same in other charts and when the
 * window moves; where two prefer one slot, the later name takes the next free one.
 */
export function stylesOf(versions: Iterable<string>): ReadonlyMap<string, VersionStyle> {
  const styles = new Map<string, VersionStyle>();
  let taken = new Set<number>();
  for (const version of [...new Set(versions)].sort()) {
    if (taken.size === HUES.length) {
      taken = new Set();
    }
    let slot = slotOf(version);
    while (taken.has(slot)) {
      slot = (slot + 1) % HUES.length;
    }
    taken.add(slot);
    styles.set(version, styleAt(slot));
  }
  return styles;
}

function styleAt(slot: number): VersionStyle {
  return {
    color: token(`${HUES[slot] ?? "gray"}.solid`),
    pattern: PATTERNS[slot] ?? "plain",
    dash: DASHES[slot],
  };
}

export const FALLBACK_STYLE: VersionStyle = { color: token("fg.muted"), pattern: "plain", dash: undefined };
