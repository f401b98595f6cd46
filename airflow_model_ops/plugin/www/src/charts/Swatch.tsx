import { useId } from "react";

import { fillOf, PatternDefs } from "./Patterns";
import { FALLBACK_STYLE, type VersionStyle } from "./palette";

/** A sample of a version's look, for legends. */
export function Swatch({ style = FALLBACK_STYLE, line = false }: { style?: VersionStyle | undefined; line?: boolean }) {
  const prefix = useId().replace(/[^\w-]/g, "");
  const styles = new Map([["", style]]);
  return (
    <svg aria-hidden="true" height="12" width={line ? 26 : 16}>
      {line ? (
        <line stroke={style.color} strokeDasharray={style.dash} strokeWidth="2.5" x1="0" x2="26" y1="6" y2="6" />
      ) : (
        <>
          <PatternDefs prefix={prefix} styles={styles} />
          <rect fill={fillOf(prefix, styles, "")} height="12" rx="2" width="16" />
        </>
      )}
    </svg>
  );
}
