import { type ScaleTime, scaleUtc } from "d3-scale";

import { token } from "./palette";
import { formatTick } from "./words";
import { momentOf, wallClock } from "./zone";

/** The time below a chart; about a tick for every 90 pixels, so that labels do not touch on a phone. */
export function TimeAxis({ scale, y, height }: { scale: ScaleTime<number, number>; y: number; height?: number }) {
  const [left = 0, right = 0] = scale.range();
  // Round times are round on the wall: midnight, not two o'clock.
  const onWall = scaleUtc(scale.domain().map(wallClock), [left, right]);
  const ticks = onWall.ticks(Math.max(2, Math.floor((right - left) / 90))).map(momentOf);
  return (
    <g aria-hidden="true" fill={token("fg.muted")}>
      <line x1={left} x2={right} y1={y} y2={y} stroke={token("border")} />
      {ticks.map((tick) => (
        <g key={tick.getTime()} transform={`translate(${scale(tick)},${y})`}>
          <line y1={height === undefined ? 0 : -height} y2="4" stroke={token("border")} strokeOpacity="0.6" />
          <text y="16" textAnchor="middle">
            {formatTick(tick)}
          </text>
        </g>
      ))}
    </g>
  );
}
