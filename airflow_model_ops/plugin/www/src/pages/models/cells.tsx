import { Badge, Box, Flex, Link, Text } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

import type { Schemas } from "../../api/client";
import { formatPercent } from "../../charts/words";
import { TimeAgo } from "../../components/TimeAgo";
import { VerdictBadge } from "../../components/VerdictBadge";
import { VersionName } from "../../components/VersionName";
import { eventWords } from "../../looks";
import { modelPath } from "../../routes";
import { attention } from "./attention";

/** What one field of a model's row looks like, in the table and in the cards alike. */
interface Props {
  readonly row: Schemas["ModelRow"];
}

const NOTHING = <Text as="span" color="fg.muted">none</Text>;

export function NameCell({ row }: Props) {
  const { words, palette } = attention(row);
  return (
    <Box>
      <Link asChild fontWeight="semibold" overflowWrap="anywhere">
        <RouterLink to={modelPath(row.model)}>{row.model}</RouterLink>
      </Link>
      <Text fontSize="xs" color="fg.muted">
        {row.fleet ? `fleet ${row.fleet}` : row.platform.replaceAll("_", " ")}
      </Text>
      {words && (
        <Badge mt={1} colorPalette={palette} variant="subtle" title={row.hold?.reason ?? row.trouble ?? row.drift ?? undefined}>
          {words}
        </Badge>
      )}
    </Box>
  );
}

export function StableCell({ row }: Props) {
  if (row.stable === null) return <Text color="fg.muted">{row.traffic === "none" ? "nothing released yet" : "no stable version"}</Text>;
  return (
    <Box>
      <VersionName version={row.stable} compact />
      <Text fontSize="xs" color="fg.muted">
        for <TimeAgo at={row.stable_since} word="" />
      </Text>
    </Box>
  );
}

export function CanaryCell({ row: { canary, hold_back } }: Props) {
  if (canary) {
    return (
      <Box>
        <VersionName version={canary.version} compact />
        <Flex gap={2} mt={1} align="center" wrap="wrap">
          <Text as="span" fontWeight="semibold" whiteSpace="nowrap">{formatPercent(canary.percent)}</Text>
          <VerdictBadge verdict={canary.verdict} reason={canary.reason} />
        </Flex>
      </Box>
    );
  }
  if (hold_back) {
    return (
      <Box>
        <VersionName version={hold_back.version} compact />
        <Text fontSize="xs" color="fg.muted">held back at {formatPercent(hold_back.percent)}</Text>
      </Box>
    );
  }
  return NOTHING;
}

export function GoldenCell({ row }: Props) {
  if (row.golden === null) return NOTHING;
  return row.golden === row.stable ? <Text as="span" color="fg.muted">same as stable</Text> : <VersionName version={row.golden} compact />;
}

export function QuarantinedCell({ row }: Props) {
  return row.quarantined === 0 ? NOTHING : <Badge colorPalette="red" variant="subtle">{row.quarantined} quarantined</Badge>;
}

export function EventCell({ row: { last_event: event } }: Props) {
  if (event === null) return NOTHING;
  return (
    <Box title={event.reason}>
      <Text>{eventWords(event.name)}</Text>
      <Text fontSize="xs" color="fg.muted" overflowWrap="anywhere">
        <TimeAgo at={event.at} /> {event.who.kind === "person" ? `by ${event.who.name}` : "by automation"}
      </Text>
    </Box>
  );
}

export function HealthCell({ row }: Props) {
  const { value, trouble } = row.health;
  return (
    <Flex gap={1} wrap="wrap">
      {trouble && <Badge colorPalette="yellow" variant="subtle" title={trouble.reason}>! not known</Badge>}
      {value && (
        <Badge colorPalette={value.reason ? "red" : "green"} variant="subtle" title={value.reason ?? "all servers answer"}>
          <span aria-hidden="true">{value.reason ? "✕" : "✓"}</span> {value.answering} of {value.servers} answer
        </Badge>
      )}
      {!value && !trouble && <Text as="span" color="fg.muted">not looked at yet</Text>}
      {row.drift && <Badge colorPalette="orange" variant="subtle" title={row.drift}>! drift</Badge>}
    </Flex>
  );
}
