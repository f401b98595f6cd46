import { Box, HStack, Text } from "@chakra-ui/react";
import { scaleLinear, scaleUtc } from "d3-scale";
import { line } from "d3-shape";

import type { Schemas } from "../api/client";
import { AsTable } from "./AsTable";
import { Drawing } from "./Drawing";
import { FALLBACK_STYLE, token, type VersionStyle } from "./palette";
import { Panel } from "./Panel";
import { momentsOf, spanOf, stretchesOf, valueAt } from "./plot";
import { Swatch } from "./Swatch";
import { TimeAxis } from "./TimeAxis";
import { nearest, useScrub } from "./useScrub";
import { useWidth } from "./useWidth";
import { formatMoment, formatNumber } from "./words";

const LEFT = 52;
const TOP = 12;
const HEIGHT = 150;
const FOOT = 24;
const MOST_ROWS = 300;

interface Props {
  readonly plot: Schemas["Plot"];
  readonly styles: ReadonlyMap<string, VersionStyle>;
}

/** One metric over time, with a line for each version. */
export function MetricPlot({ plot: { metric, unit, lines, step_seconds }, styles }: Props) {
  const [box, width] = useWidth<HTMLDivElement>(420);
  const moments = momentsOf(lines);
  const first = moments[0] ?? 0;
  const last = Math.max(moments.at(-1) ?? 0, first + 60_000);
  const x = scaleUtc([new Date(first), new Date(last)], [LEFT, Math.max(LEFT + 1, width - 8)]);
  const y = scaleLinear(spanOf(lines), [TOP + HEIGHT, TOP]);
  const path = line<Schemas["PlotPoint"]>(({ at }) => x(new Date(at)), ({ value }) => y(value));
  const positions = moments.map((moment) => x(moment));
  const valueWords = (moment: number | undefined) =>
    lines.map((one) => `${one.version} ${withUnit(moment === undefined ? null : valueAt(one, moment), unit)}`).join(", ");
  const scrub = useScrub({
    label: `Moments of ${metric}; arrow keys move`,
    count: moments.length,
    at: (pixel) => nearest(positions, pixel),
    say: (index) => `${formatMoment(new Date(moments[index] ?? 0))}: ${valueWords(moments[index])}`,
  });
  const chosen = scrub.index === null ? undefined : moments[scrub.index];
  return (
    <Box minW={0}>
      <Text fontWeight="semibold">
        {metric}
        {unit && (
          <Text as="span" color="fg.muted" fontWeight="normal">
            {" "}
            in {unit}
          </Text>
        )}
      </Text>
      {moments.length === 0 ? (
        <Text color="fg.muted">No samples of these versions in this time.</Text>
      ) : (
        <>
          <Box ref={box} cursor="crosshair" touchAction="pan-y" _focusVisible={{ outline: "2px solid", outlineColor: "border.inverted" }} {...scrub.props}>
            <Drawing height={TOP + HEIGHT + FOOT}>
              <Panel height={HEIGHT} limits={[]} ticks={y.ticks(4).map((tick) => ({ y: y(tick), label: formatNumber(tick) }))} title="" top={TOP} x={x}>
                {lines.map(({ version, points }) => {
                  const { color, dash } = styles.get(version) ?? FALLBACK_STYLE;
                  return stretchesOf(points, step_seconds).map((stretch) =>
                    stretch.length === 1 ? (
                      <circle key={stretch[0]?.at} cx={x(new Date(stretch[0]?.at ?? 0))} cy={y(stretch[0]?.value ?? 0)} fill={color} r="3.5" />
                    ) : (
                      <path key={stretch[0]?.at} d={path(stretch) ?? ""} fill="none" stroke={color} strokeDasharray={dash} strokeWidth="2" />
                    ),
                  );
                })}
              </Panel>
              {chosen !== undefined && <line stroke={token("fg")} x1={x(chosen)} x2={x(chosen)} y1={TOP} y2={TOP + HEIGHT} />}
              <TimeAxis scale={x} y={TOP + HEIGHT} />
            </Drawing>
          </Box>
          <Text aria-hidden="true" color="fg.muted" fontSize="xs" minH="1.5em">
            {chosen === undefined ? "" : formatMoment(new Date(chosen))}
          </Text>
          <HStack as="ul" columnGap={4} flexWrap="wrap" fontSize="sm" listStyleType="none" rowGap={1}>
            {lines.map((one) => (
              <HStack key={one.version} as="li" gap={1.5}>
                <Swatch line style={styles.get(one.version)} />
                <span>
                  {one.version} <b>{withUnit(chosen === undefined ? (one.points.at(-1)?.value ?? null) : valueAt(one, chosen), unit)}</b>
                </span>
              </HStack>
            ))}
          </HStack>
          <AsTable
            caption={`${metric}${unit ? ` in ${unit}` : ""}, newest first`}
            columns={["At", ...lines.map(({ version }) => version)]}
            rows={moments
              .slice(-MOST_ROWS)
              .reverse()
              .map((moment) => ({
                key: String(moment),
                cells: [formatMoment(new Date(moment)), ...lines.map((one) => withUnit(valueAt(one, moment), ""))],
              }))}
          />
        </>
      )}
    </Box>
  );
}

function withUnit(value: number | null, unit: string): string {
  return value === null ? "none" : `${formatNumber(value)}${unit ? ` ${unit}` : ""}`;
}
