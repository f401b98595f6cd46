import { useId } from "react";

import { fillOf, PatternDefs } from "./Patterns";
import { FALLBACK_STYLE, type VersionStyle } from "./palette";

interface Props {
  readonly style?: VersionStyle | undefined;
}

/** A sample of a version's look, for legends. */
export function Swatch({ style = FALLBACK_STYLE, line = false }: Props & { readonly line?: boolean }) {
  return (
    <svg aria-hidden="true" height="12" width={line ? 26 : 16}>
      {line ? (
        <line stroke={style.color} strokeDasharray={style.dash} strokeWidth="2.5" x1="0" x2="26" y1="6" y2="6" />
      ) : (
        <Filled style={style} radius={2} />
      )}
    </svg>
  );
}

/** A box full of a version's look. */
export function Fill({ style = FALLBACK_STYLE }: Props) {
  return (
    <svg aria-hidden="true" height="100%" width="100%" style={{ display: "block" }}>
      <Filled style={style} />
    </svg>
  );
}

function Filled({ style, radius = 0 }: { readonly style: VersionStyle; readonly radius?: number }) {
  const prefix = useId().replace(/[^\w-]/g, "");
  const styles = new Map([["", style]]);
  return (
    <>
      <PatternDefs prefix={prefix} styles={styles} />
      <rect fill={fillOf(prefix, styles, "")} height="100%" rx={radius} width="100%" />
    </>
  );
}
