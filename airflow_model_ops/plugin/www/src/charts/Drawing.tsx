import type { ReactNode } from "react";

/** As a style and not as an attribute: Chakra's reset lets each element inherit its font, which beats attributes. */
const LOOK = { display: "block", fontSize: "11px" } as const;

/** The drawing of a chart. It is hidden from screen readers: the chart says in words what it shows. */
export function Drawing({ height, children }: { readonly height: number; readonly children: ReactNode }) {
  return (
    <svg aria-hidden="true" height={height} style={LOOK} width="100%">
      {children}
    </svg>
  );
}
