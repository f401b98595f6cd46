import type { ReactElement } from "react";

import { token, type PatternKind, type VersionStyle } from "./palette";

const INK = { stroke: token("bg"), strokeWidth: 1.5, strokeOpacity: 0.75, fill: "none" } as const;
const SPOT = { fill: token("bg"), fillOpacity: 0.75 } as const;

const STROKES: Readonly<Record<PatternKind, ReactElement | null>> = {
  plain: null,
  diagonal: <path d="M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4" {...INK} />,
  dots: <circle cx="4" cy="4" r="1.4" {...SPOT} />,
  horizontal: <path d="M0,4 h8" {...INK} />,
  cross: <path d="M0,0 l8,8 M0,8 l8,-8" {...INK} />,
  vertical: <path d="M4,0 v8" {...INK} />,
  steep: <path d="M-2,-2 l12,12 M-2,6 l4,4 M6,-2 l4,4" {...INK} />,
  squares: <rect x="2.5" y="2.5" width="3" height="3" {...SPOT} />,
};

/** The fills of the versions, below `prefix`: an id of the chart's own, so that two charts on a page do not clash. */
export function PatternDefs({ prefix, styles }: { prefix: string; styles: ReadonlyMap<string, VersionStyle> }) {
  return (
    <defs>
      {[...styles].map(([version, style], index) => (
        <pattern key={version} id={`${prefix}-${index}`} width="8" height="8" patternUnits="userSpaceOnUse">
          <rect width="8" height="8" fill={style.color} />
          {STROKES[style.pattern]}
        </pattern>
      ))}
    </defs>
  );
}

/** The fill of one version, as a reference to what {@link PatternDefs} defined. */
export function fillOf(prefix: string, styles: ReadonlyMap<string, VersionStyle>, version: string): string {
  const index = [...styles.keys()].indexOf(version);
  return index < 0 ? token("fg.muted") : `url(#${prefix}-${index})`;
}
