import { Box, Text } from "@chakra-ui/react";
import { scaleLinear, scaleLog, scaleUtc, type ScaleTime } from "d3-scale";
import { area, line } from "d3-shape";

import type { Schemas } from "../api/client";
import { verdictLook } from "../looks";
import { AsTable } from "./AsTable";
import { Drawing } from "./Drawing";
import { PointDetails } from "./PointDetails";
import { bands, evidenceDomain, logTicks, ratioDomain, runs, thin, timeDomain, valueDomain, type BandPoint } from "./evidence";
import { token } from "./palette";
import { Panel, StepMarks, type Limit } from "./Panel";
import { TimeAxis } from "./TimeAxis";
import { nearest, useScrub } from "./useScrub";
import { useWidth } from "./useWidth";
import { formatEvidence, formatMoment, formatNumber, formatOdds, formatPercent, formatRatio, formatShare } from "./words";

type Point = Schemas["Point"];
type TimeScale = ScaleTime<number, number>;

const LEFT = 46;
const MAIN = { top: 36, height: 210 };
const SMALL = { top: 290, height: 96 };
const FOOT = 24;
/** Room for the words below the lowest line, so that they do not run into the axis. */
const LABEL = 14;
/** Points more than this are thinned: more than a pixel each would show nothing. */
const MOST_POINTS = 400;
const MOST_ROWS = 300;

interface Props {
  readonly check: Schemas["CheckSeries"];
  readonly steps: readonly Schemas["StepMark"][];
  /** Of the confidence sequence, such as 0.99. */
  readonly confidence: number | null;
  /** The right edge while the release is live; `null`: its last point. */
  readonly now: Date | null;
}

/** What one check showed over a release: the value with its bounds above, the evidence for and against below. */
export function EvidenceChart({ check, steps, confidence, now }: Props) {
  const points = thin(check.points, MOST_POINTS);
  const [box, width] = useWidth<HTMLDivElement>();
  const x = scaleUtc(timeDomain(check, steps, now), [LEFT, Math.max(LEFT + 1, width - 8)]);
  const isShare = check.kind === "share";
  const hasEvidence = points.some(({ harm, safe }) => harm !== null || safe !== null);
  const bottom = hasEvidence ? SMALL.top + SMALL.height : MAIN.top + MAIN.height;
  const positions = points.map(({ at }) => x(new Date(at)));
  const scrub = useScrub({
    label: `Moments of ${check.check}; arrow keys move`,
    count: points.length,
    at: (pixel) => nearest(positions, pixel),
    say: (index) => sentence(points[index], check.kind),
  });
  const chosen = scrub.index === null ? points.at(-1) : points[scrub.index];
  return (
    <Box>
      <Box ref={box} cursor="crosshair" touchAction="pan-y" _focusVisible={{ outline: "2px solid", outlineColor: "border.inverted" }} {...scrub.props}>
        <Drawing height={bottom + FOOT}>
          {isShare ? (
            <RatioPanel check={check} confidence={confidence} points={points} x={x} />
          ) : (
            <GaugePanel check={check} points={points} x={x} />
          )}
          {hasEvidence && <EvidencePanel check={check} points={points} x={x} />}
          <StepMarks bottom={bottom} steps={steps} top={MAIN.top} x={x} />
          {chosen && scrub.index !== null && (
            <line stroke={token("fg")} x1={x(new Date(chosen.at))} x2={x(new Date(chosen.at))} y1={MAIN.top} y2={bottom} />
          )}
          <TimeAxis scale={x} y={bottom} />
        </Drawing>
      </Box>
      {chosen ? (
        <PointDetails kind={check.kind} newest={scrub.index === null} point={chosen} />
      ) : (
        <Text color="fg.muted">Nothing was measured yet: the first moment comes with the first interval.</Text>
      )}
      <PointsTable check={check} />
    </Box>
  );
}

interface PanelProps {
  readonly check: Schemas["CheckSeries"];
  readonly points: readonly Point[];
  readonly x: TimeScale;
}

function RatioPanel({ check, confidence, points, x }: PanelProps & { readonly confidence: number | null }) {
  const domain = ratioDomain(check);
  const y = scaleLog(domain, [MAIN.top + MAIN.height, MAIN.top]);
  const band = area<BandPoint>((point) => x(point.at), (point) => y(point.low.value), (point) => y(point.high.value));
  const middle = line<BandPoint>((point) => x(point.at), (point) => y(point.ratio?.value ?? 1)).defined(({ ratio }) => ratio !== null);
  const limits: Limit[] = [];
  if (check.rollback_line !== null) {
    const label = `roll back: the whole band above ${formatNumber(check.rollback_line)}×`;
    limits.push({ y: y(check.rollback_line), label, color: token("fg.error"), side: "below" });
  }
  if (check.promotion_line !== null) {
    const label = `promote: the whole band below ${formatNumber(check.promotion_line)}×`;
    limits.push({ y: y(check.promotion_line), label, color: token("fg.success"), side: "above" });
  }
  const sure = confidence === null ? "" : `, band: ${formatNumber(100 * confidence)} % sure at all moments at once`;
  return (
    <Panel
      height={MAIN.height}
      limits={limits}
      ticks={logTicks(domain).map((tick) => ({ y: y(tick), label: `${tick}×` }))}
      title={`canary's bad rate over stable's${(x.range()[1] ?? 0) > 560 ? sure : ""}`}
      top={MAIN.top}
      x={x}
    >
      {bands(points, domain).map((stretch) => (
        <g key={stretch[0]?.at.getTime()}>
          {stretch.length > 1 ? (
            <>
              <path d={band(stretch) ?? ""} fill={token("blue.solid")} fillOpacity="0.22" />
              <path d={middle(stretch) ?? ""} fill="none" stroke={token("blue.fg")} strokeWidth="2" />
            </>
          ) : (
            <Whisker point={stretch[0]} x={x} y={y} />
          )}
          <CutMarks stretch={stretch} x={x} y={y} />
          <Dot color={token("blue.fg")} x={x(stretch.at(-1)?.at ?? 0)} y={y(stretch.at(-1)?.ratio?.value ?? Number.NaN)} />
        </g>
      ))}
    </Panel>
  );
}

type Scale = (value: number) => number;

/** A band of a single moment: a line from bound to bound. */
function Whisker({ point, x, y }: { point: BandPoint | undefined; x: TimeScale; y: Scale }) {
  if (point === undefined) return null;
  const here = x(point.at);
  return (
    <path
      d={`M${here},${y(point.low.value)} V${y(point.high.value)} M${here - 5},${y(point.low.value)} h10 M${here - 5},${y(point.high.value)} h10`}
      stroke={token("blue.solid")}
      strokeWidth="2"
    />
  );
}

/** An arrow at the edge for the newest moment of a stretch whose bound lies beyond it. */
function CutMarks({ stretch, x, y }: { stretch: readonly BandPoint[]; x: TimeScale; y: Scale }) {
  const newest = stretch.at(-1);
  if (newest === undefined) return null;
  const here = x(newest.at);
  return (
    <g fill={token("blue.fg")}>
      {newest.high.cut && <path d={`M${here - 5},${y(newest.high.value) + 7} h10 l-5,-7 z`} />}
      {newest.low.cut && <path d={`M${here - 5},${y(newest.low.value) - 7} h10 l-5,7 z`} />}
    </g>
  );
}

function Dot({ color, x, y }: { color: string; x: number; y: number }) {
  return Number.isFinite(y) ? <circle cx={x} cy={y} fill={color} r="3.5" /> : null;
}

function Lines({ below = false, color, dash, label, of, points, domain, x, y }: {
  /** Whether its label is below its end, so that two labels do not touch. */
  readonly below?: boolean;
  readonly color: string;
  readonly dash?: string;
  readonly label: string;
  readonly of: (point: Point) => number | null;
  readonly points: readonly Point[];
  readonly domain: readonly [number, number];
  readonly x: TimeScale;
  readonly y: Scale;
}) {
  const found = runs(points, of, domain);
  const path = line<{ at: Date; value: number }>(({ at }) => x(at), ({ value }) => y(value));
  const last = found.at(-1)?.at(-1);
  const isEarly = last !== undefined && x(last.at) < (x.range()[0] ?? 0) + 60;
  return (
    <g>
      {found.map((run) => (
        <path key={run[0]?.at.getTime()} d={path(run) ?? ""} fill="none" stroke={color} strokeDasharray={dash} strokeWidth="2" />
      ))}
      {last && (
        <>
          <Dot color={color} x={x(last.at)} y={y(last.value)} />
          <text fill={color} paintOrder="stroke" stroke={token("bg")} strokeWidth="3" textAnchor={isEarly ? "start" : "end"} x={x(last.at) + (isEarly ? 7 : -6)} y={y(last.value) + (below ? 13 : -6)}>
            {label}
          </text>
        </>
      )}
    </g>
  );
}

function EvidencePanel({ check, points, x }: PanelProps) {
  const domain = evidenceDomain(check);
  const y = scaleLinear(domain, [SMALL.top + SMALL.height - LABEL, SMALL.top]);
  const limits: Limit[] = [];
  if (check.harm_line !== null) {
    limits.push({ y: y(check.harm_line), label: "harm is shown", color: token("fg.error"), side: "above" });
  }
  if (check.safe_line !== null) {
    limits.push({ y: y(check.safe_line), label: "safety is shown", color: token("fg.success"), side: "below" });
  }
  const ticks = y.ticks(4).filter(Number.isInteger);
  return (
    <Panel
      height={SMALL.height}
      limits={limits}
      ticks={ticks.map((tick) => ({ y: y(tick), label: formatOdds(tick) }))}
      title="evidence, as odds"
      top={SMALL.top}
      x={x}
    >
      <Lines below color={token("fg.error")} domain={domain} label="harm" of={({ harm }) => harm} points={points} x={x} y={y} />
      <Lines color={token("fg.success")} dash="6 3" domain={domain} label="safety" of={({ safe }) => safe} points={points} x={x} y={y} />
    </Panel>
  );
}

function GaugePanel({ check, points, x }: PanelProps) {
  const domain = valueDomain(check);
  const y = scaleLinear(domain, [MAIN.top + MAIN.height, MAIN.top]);
  const limits = Object.entries(check.limits).map(
    ([name, value]): Limit => ({
      y: y(value),
      label: `${name} ${formatNumber(value)}`,
      color: token("fg.error"),
      side: name === "min" ? "below" : "above",
    }),
  );
  return (
    <Panel
      height={MAIN.height}
      limits={limits}
      ticks={y.ticks(5).map((tick) => ({ y: y(tick), label: formatNumber(tick) }))}
      title="measured value"
      top={MAIN.top}
      x={x}
    >
      <Lines below color={token("fg.muted")} dash="6 3" domain={domain} label="stable" of={({ stable_value }) => stable_value} points={points} x={x} y={y} />
      <Lines color={token("blue.fg")} domain={domain} label="canary" of={({ value }) => value} points={points} x={x} y={y} />
    </Panel>
  );
}

function PointsTable({ check }: { check: Schemas["CheckSeries"] }) {
  const isShare = check.kind === "share";
  const shown = thin(check.points, MOST_ROWS).reverse();
  const rest = check.points.length > shown.length ? `, ${shown.length} of ${check.points.length} moments` : "";
  return (
    <AsTable
      caption={`${check.description || check.check}, newest first${rest}`}
      columns={["At", "Canary's traffic", ...(isShare ? ["Canary bad", "Stable bad", "Risk ratio"] : ["Canary", "Stable"]), "Verdict"]}
      rows={shown.map((point) => ({
        key: point.at,
        cells: [
          formatMoment(new Date(point.at)),
          formatPercent(point.percent),
          ...(isShare
            ? [
                formatShare(point.canary_bad, point.canary_total),
                formatShare(point.stable_bad, point.stable_total),
                formatRatio(point.ratio, point.low, point.high),
              ]
            : [point.value, point.stable_value].map((value) => (value === null ? "none" : formatNumber(value)))),
          verdictLook(point.verdict).words,
        ],
      }))}
    />
  );
}

function sentence(point: Point | undefined, kind: string): string {
  if (point === undefined) return "nothing yet";
  const when = `${formatMoment(new Date(point.at))}, ${formatPercent(point.percent)} of traffic`;
  const verdict = verdictLook(point.verdict).words;
  if (kind !== "share") return `${when}: ${point.value === null ? "no value" : formatNumber(point.value)}, ${verdict}`;
  const proof = `harm ${formatEvidence(point.harm)}, safety ${formatEvidence(point.safe)}`;
  return `${when}: risk ratio ${formatRatio(point.ratio, point.low, point.high)}, evidence of ${proof}, ${verdict}`;
}
