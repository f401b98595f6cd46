import type { ScaleTime } from "d3-scale";
import type { ReactNode } from "react";

import type { Schemas } from "../api/client";
import { token } from "./palette";
import { formatPercent } from "./words";

export interface Limit {
  readonly y: number;
  readonly label: string;
  readonly color: string;
  /** On which side of the line its label is, so that those of two lines close by do not touch. */
  readonly side: "above" | "below";
  readonly end?: "left" | "right";
}

interface Props {
  readonly x: ScaleTime<number, number>;
  readonly top: number;
  readonly height: number;
  readonly title: string;
  readonly ticks: readonly { y: number; label: string }[];
  readonly limits: readonly Limit[];
  readonly children: ReactNode;
}

/** The frame of a part of a chart: a title, grid lines with their numbers, and the lines that something happens at. */
export function Panel({ x, top, height, title, ticks, limits, children }: Props) {
  const [left = 0, right = 0] = x.range();
  return (
    <g>
      <text fill={token("fg.muted")} x="0" y={top - 8}>
        {title}
      </text>
      {ticks.map(({ y, label }) => (
        <g key={label} fill={token("fg.muted")}>
          <line stroke={token("border")} strokeOpacity="0.6" x1={left} x2={right} y1={y} y2={y} />
          <text textAnchor="end" x={left - 5} y={y + 4}>
            {label}
          </text>
        </g>
      ))}
      {children}
      {limits.map(({ y, label, color, side, end = "left" }) => (
        <g key={label} fill={color}>
          <line stroke={color} strokeDasharray="5 3" strokeWidth="1.5" x1={left} x2={right} y1={y} y2={y} />
          <text
            paintOrder="stroke"
            stroke={token("bg")}
            strokeWidth="3"
            textAnchor={end === "left" ? "start" : "end"}
            x={end === "left" ? left + 4 : right - 4}
            y={side === "above" ? y - 4 : y + 12}
          >
            {label}
          </text>
        </g>
      ))}
      <line stroke={token("border")} x1={left} x2={left} y1={top} y2={top + height} />
    </g>
  );
}

/** Where each step began, over all panels, with its share where there is room for the words. */
export function StepMarks({ steps, x, top, bottom }: { steps: readonly Schemas["StepMark"][]; x: ScaleTime<number, number>; top: number; bottom: number }) {
  let free = -Infinity;
  return (
    <g fill={token("fg.muted")}>
      {steps.map(({ at, percent, watch }) => {
        const here = x(new Date(at));
        const hasRoom = here >= free;
        if (hasRoom) free = here + 42;
        return (
          <g key={`${at} ${percent}`}>
            <line stroke={token("fg.muted")} strokeDasharray="1 3" x1={here} x2={here} y1={top} y2={bottom} />
            {hasRoom && (
              <text x={here + 3} y={top + 9}>
                {watch ? "watch" : formatPercent(percent)}
              </text>
            )}
          </g>
        );
      })}
    </g>
  );
}
