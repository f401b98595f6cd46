import { DataList, HStack, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

import type { Schemas } from "../api/client";
import { VerdictBadge } from "../components/VerdictBadge";
import { formatEvidence, formatMoment, formatNumber, formatPercent, formatRatio, formatShare } from "./words";

interface Props {
  readonly point: Schemas["Point"];
  readonly kind: string;
  /** Whether it is shown because it is the newest, not because it is pointed at. */
  readonly newest: boolean;
}

/** The numbers behind one moment of a check. */
export function PointDetails({ point, kind, newest }: Props) {
  const rows: [string, ReactNode][] =
    kind === "share"
      ? [
          ["Canary, bad events", formatShare(point.canary_bad, point.canary_total)],
          ["Stable, bad events", formatShare(point.stable_bad, point.stable_total)],
          ["Risk ratio", formatRatio(point.ratio, point.low, point.high)],
          ["Evidence of harm", formatEvidence(point.harm)],
          ["Evidence of safety", formatEvidence(point.safe)],
        ]
      : [
          ["Canary", point.value === null ? "none" : formatNumber(point.value)],
          ["Stable", point.stable_value === null ? "none" : formatNumber(point.stable_value)],
        ];
  return (
    <>
      <HStack fontSize="sm" mt={2} wrap="wrap">
        <Text fontWeight="semibold">{newest ? "Newest" : "At"}</Text>
        <Text as="span" fontVariantNumeric="tabular-nums">
          {formatMoment(new Date(point.at))}, {formatPercent(point.percent)} of traffic
        </Text>
        <VerdictBadge verdict={point.verdict} />
      </HStack>
      <DataList.Root columnGap={6} display="grid" gridTemplateColumns="repeat(auto-fill, minmax(13rem, 1fr))" mt={2} rowGap={2} size="sm">
        {rows.map(([label, value]) => (
          <DataList.Item key={label}>
            <DataList.ItemLabel>{label}</DataList.ItemLabel>
            <DataList.ItemValue fontVariantNumeric="tabular-nums">{value}</DataList.ItemValue>
          </DataList.Item>
        ))}
      </DataList.Root>
    </>
  );
}
