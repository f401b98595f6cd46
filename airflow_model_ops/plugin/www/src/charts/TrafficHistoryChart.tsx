import { Box, HStack, SegmentGroup, Text } from "@chakra-ui/react";
import { scaleLinear, scaleUtc, type ScaleTime } from "d3-scale";
import { useId } from "react";

import type { Schemas } from "../api/client";
import type { Roles } from "../looks";
import { AsTable } from "./AsTable";
import { Drawing } from "./Drawing";
import { fillOf, PatternDefs } from "./Patterns";
import { stylesOf, token, type VersionStyle } from "./palette";
import { Swatch } from "./Swatch";
import { TimeAxis } from "./TimeAxis";
import { beginOf, cut, layers, thinned, versionsOf, type Stretch } from "./traffic";
import { useScrub } from "./useScrub";
import { useWidth } from "./useWidth";
import { formatDuration, formatMoment, formatPercent } from "./words";

const HOUR = 3_600_000;
const HEIGHT = 150;
const FOOT = 22;
const LEFT = 40;
const TOP = 6;
/** Bars thinner than this many pixels are drawn as one. */
const THINNEST = 2;

export const WINDOWS = [
  { hours: 24, label: "24 h" },
  { hours: 168, label: "7 days" },
  { hours: 720, label: "30 days" },
] as const;

interface Props {
  readonly history: Schemas["TrafficHistory"];
  readonly hours: number;
  /** What the versions are now. */
  readonly roles: Roles;
  /** The right edge; the browser's clock where it is not given. */
  readonly now?: Date;
  /** Called when another window is picked; without it there is nothing to pick. */
  readonly onHours?: (hours: number) => void;
}

/** Which version had which share of the traffic, over time. */
export function TrafficHistoryChart({ history, hours, roles, now = new Date(), onHours }: Props) {
  const from = beginOf(history, new Date(now.getTime() - hours * HOUR), now);
  const stretches = cut(history.periods, from, now);
  const versions = versionsOf(stretches);
  const styles = stylesOf(versions, roles);
  return (
    <Box>
      {onHours && <WindowPicker hours={hours} onHours={onHours} />}
      {stretches.length === 0 ? (
        <Text color="fg.muted" py={6}>
          {history.begin === null ? "Nothing has served yet." : "Nothing served in this time."}
        </Text>
      ) : (
        <>
          <Bars from={from} now={now} stretches={stretches} styles={styles} versions={versions} />
          <Legend styles={styles} versions={versions} />
          <AsTable
            caption="The traffic split over time, newest first"
            columns={["From", "Until", "Split", "Why"]}
            rows={[...stretches].reverse().map((stretch) => ({
              key: `${stretch.begin.getTime()}`,
              cells: [
                formatMoment(stretch.begin),
                stretch.open ? "now" : formatMoment(stretch.end),
                splitWords(stretch.split),
                stretch.reason,
              ],
            }))}
          />
        </>
      )}
    </Box>
  );
}

function WindowPicker({ hours, onHours }: { hours: number; onHours: (hours: number) => void }) {
  return (
    <HStack justify="flex-end" mb={2}>
      <SegmentGroup.Root
        aria-label="Shown time"
        onValueChange={({ value }) => {
          if (value !== null) onHours(Number(value));
        }}
        size="xs"
        value={String(hours)}
      >
        <SegmentGroup.Indicator />
        {WINDOWS.map(({ hours: value, label }) => (
          <SegmentGroup.Item key={value} value={String(value)}>
            <SegmentGroup.ItemText>{label}</SegmentGroup.ItemText>
            <SegmentGroup.ItemHiddenInput />
          </SegmentGroup.Item>
        ))}
      </SegmentGroup.Root>
    </HStack>
  );
}

interface BarsProps {
  readonly from: Date;
  readonly now: Date;
  readonly stretches: readonly Stretch[];
  readonly styles: ReadonlyMap<string, VersionStyle>;
  readonly versions: readonly string[];
}

function Bars({ from, now, stretches, styles, versions }: BarsProps) {
  const prefix = useId().replace(/[^\w-]/g, "");
  const [box, width] = useWidth<HTMLDivElement>();
  const x = scaleUtc([from, now], [LEFT, Math.max(LEFT + 1, width - 1)]);
  const y = scaleLinear([0, 100], [TOP + HEIGHT, TOP]);
  const shown = thinned(stretches, (THINNEST * (now.getTime() - from.getTime())) / Math.max(1, width - LEFT));
  const scrub = useScrub({
    label: "Moments of the traffic split; arrow keys move",
    count: shown.length,
    at: (pixel) => indexAt(shown, x.invert(pixel)),
    say: (index) => sentence(shown[index]),
  });
  const marked = scrub.index === null ? undefined : shown[scrub.index];
  return (
    <Box>
      <Box ref={box} cursor="crosshair" touchAction="pan-y" _focusVisible={{ outline: "2px solid", outlineColor: "border.inverted" }} {...scrub.props}>
        <Drawing height={TOP + HEIGHT + FOOT}>
          <PatternDefs prefix={prefix} styles={styles} />
          {[0, 50, 100].map((percent) => (
            <g key={percent} fill={token("fg.muted")}>
              <line stroke={token("border")} x1={LEFT} x2="100%" y1={y(percent)} y2={y(percent)} />
              <text textAnchor="end" x={LEFT - 5} y={y(percent) + 4}>
                {percent} %
              </text>
            </g>
          ))}
          {shown.map((stretch) =>
            layers(stretch.split, versions).map(({ version, from: low, to: high }) => (
              <rect
                key={`${stretch.begin.getTime()} ${version}`}
                fill={fillOf(prefix, styles, version)}
                height={Math.max(1, y(low) - y(high))}
                opacity={marked === undefined || marked === stretch ? 1 : 0.55}
                width={Math.max(1, x(stretch.end) - x(stretch.begin))}
                x={x(stretch.begin)}
                y={y(high)}
              />
            )),
          )}
          {marked && <Mark stretch={marked} x={x} />}
          <TimeAxis scale={x} y={TOP + HEIGHT} />
        </Drawing>
      </Box>
      <Text aria-hidden="true" fontSize="sm" minH={{ base: "3.5em", md: "1.6em" }} mt={1}>
        {sentence(marked ?? shown.at(-1))}
      </Text>
    </Box>
  );
}

function Mark({ stretch, x }: { stretch: Stretch; x: ScaleTime<number, number> }) {
  return (
    <rect
      fill="none"
      height={HEIGHT + 2}
      stroke={token("fg")}
      strokeWidth="2"
      width={Math.max(3, x(stretch.end) - x(stretch.begin))}
      x={x(stretch.begin)}
      y={TOP - 1}
    />
  );
}

function Legend({ styles, versions }: { styles: ReadonlyMap<string, VersionStyle>; versions: readonly string[] }) {
  return (
    <HStack aria-label="Versions" as="ul" columnGap={4} flexWrap="wrap" fontSize="sm" listStyleType="none" mt={1} rowGap={1}>
      {versions.map((version) => (
        <HStack key={version} as="li" gap={1.5}>
          <Swatch style={styles.get(version)} />
          {version}
        </HStack>
      ))}
    </HStack>
  );
}

function indexAt(stretches: readonly Stretch[], at: Date): number {
  const after = stretches.findIndex((stretch) => stretch.end > at);
  return after < 0 ? stretches.length - 1 : after;
}

function splitWords(split: readonly Schemas["Share"][]): string {
  return split.map(({ version, percent }) => `${version} ${formatPercent(percent)}`).join(", ") || "nothing";
}

function sentence(stretch: Stretch | undefined): string {
  if (stretch === undefined) {
    return "";
  }
  const lasted = formatDuration(stretch.end.getTime() - stretch.begin.getTime());
  const until = stretch.open ? `since ${formatMoment(stretch.begin)}` : `${formatMoment(stretch.begin)} for ${lasted}`;
  const more = stretch.count > 1 ? ` (the longest of ${stretch.count} short ones)` : "";
  return `${splitWords(stretch.split)}, ${until}${more}: ${stretch.reason}`;
}
