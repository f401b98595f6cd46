import { Badge, Box, Button, Flex, Heading, HStack, Link, Stack, Switch, Text } from "@chakra-ui/react";
import { useEffect, useMemo, useState } from "react";
import { Link as RouterLink, useSearchParams } from "react-router-dom";

import { get, type Schemas } from "../api/client";
import { useTimeline } from "../api/hooks";
import { stylesOf, type VersionStyle } from "../charts/palette";
import { Swatch } from "../charts/Swatch";
import { formatClock, formatDate, formatPercent } from "../charts/words";
import { RunLink } from "../components/RunLink";
import { EmptyState, ErrorState, Loading, StaleNote } from "../components/states";
import { TimeAgo } from "../components/TimeAgo";
import { VerdictBadge } from "../components/VerdictBadge";
import { VersionName } from "../components/VersionName";
import { rolesOf } from "../looks";
import { modelPath } from "../routes";
import type { TabProps } from "./tab";
import { actionLook, byDay, knownOf, shownOf, withNewest, withOlder, type Known } from "./timeline";

type Entry = Schemas["TimelineEntry"];
type Styles = ReadonlyMap<string, VersionStyle>;

const PAGE = 50;

/** Everything that ever happened to a model, newest first. */
export function TimelineTab({ answer }: TabProps) {
  const { model, live } = answer.row;
  const [asked, ask] = useSearchParams();
  const onlyTransitions = asked.get("show") === "transitions";
  const log = useLog(model, live);
  const shown = useMemo(() => shownOf(log.known?.entries ?? [], onlyTransitions), [log.known, onlyTransitions]);
  const styles = useMemo(
    () => stylesOf(shown.flatMap(({ split }) => (split ?? []).map(({ version }) => version)), rolesOf(answer.row)),
    [shown, answer.row],
  );
  if (log.known === null) {
    return log.error ? <ErrorState error={log.error} retry={log.retry} what="The timeline" /> : <Loading rows={6} what="the timeline" />;
  }
  if (log.known.entries.length === 0) {
    return <EmptyState title="Nothing has happened yet">The log begins with the first version that is pushed.</EmptyState>;
  }
  return (
    <Stack gap={4}>
      <StaleNote error={log.error} />
      <Switch.Root
        checked={onlyTransitions}
        onCheckedChange={({ checked }) => {
          ask(checked ? { show: "transitions" } : {}, { replace: true });
        }}
        size="sm"
        width="fit-content"
      >
        <Switch.HiddenInput />
        <Switch.Control />
        <Switch.Label>Only transitions, no facts</Switch.Label>
      </Switch.Root>
      {byDay(shown).map(({ key, at, entries }) => (
        <Box key={key} as="section" aria-label={formatDate(at)}>
          <Heading as="h2" color="fg.muted" mb={2} size="sm">
            {formatDate(at)}
          </Heading>
          <Box as="ol" borderColor="border" borderStartWidth="2px" listStyleType="none" ms="13px">
            {entries.map((entry) => (
              <Item key={entry.sequence} entry={entry} model={model} styles={styles} />
            ))}
          </Box>
        </Box>
      ))}
      {shown.length === 0 && <Text color="fg.muted">None of the entries read so far is a transition.</Text>}
      <Older log={log} />
    </Stack>
  );
}

interface Log {
  readonly known: Known | null;
  readonly error: unknown;
  readonly retry: () => void;
  readonly older: { readonly load: () => void; readonly loading: boolean; readonly error: unknown };
}

/** The log so far: its newest page by polling, older ones when they are asked for. */
function useLog(model: string, live: boolean): Log {
  const { data, error, mutate } = useTimeline(model, { limit: PAGE, live });
  const [known, setKnown] = useState<Known | null>(data ? knownOf(data) : null);
  const [older, setOlder] = useState<{ loading: boolean; error: unknown }>({ loading: false, error: undefined });
  useEffect(() => {
    if (data) setKnown((before) => withNewest(before, data));
  }, [data]);
  const load = async (before: number) => {
    setOlder({ loading: true, error: undefined });
    try {
      const page = await get("/api/v1/models/{model}/timeline", { path: { model }, query: { before, limit: PAGE } });
      setKnown((now) => now && withOlder(now, before, page));
      setOlder({ loading: false, error: undefined });
    } catch (failure: unknown) {
      setOlder({ loading: false, error: failure });
    }
  };
  return {
    known,
    error,
    retry: () => void mutate(),
    older: {
      ...older,
      load: () => {
        if (typeof known?.before === "number") void load(known.before);
      },
    },
  };
}

function Older({ log: { known, older } }: { log: Log }) {
  if (older.error !== undefined) {
    return <ErrorState error={older.error} retry={older.load} what="The older entries" />;
  }
  if (known === null || typeof known.before !== "number") {
    return (
      <Text color="fg.muted" fontSize="sm">
        This is where the log begins.
      </Text>
    );
  }
  return (
    <Button alignSelf="start" loading={older.loading} loadingText="Reading older entries" onClick={older.load} size="sm" variant="outline">
      Load older entries
    </Button>
  );
}

function Item({ entry, model, styles }: { entry: Entry; model: string; styles: Styles }) {
  const look = actionLook(entry.name);
  const isTransition = entry.kind === "transition";
  return (
    <Flex as="li" gap={3} ms="-15px" pb={4}>
      <Flex
        align="center"
        aria-hidden="true"
        bg={isTransition ? `${look.palette}.solid` : "bg.emphasized"}
        borderRadius="full"
        boxSize="28px"
        color={isTransition ? `${look.palette}.contrast` : "fg"}
        flexShrink={0}
        fontSize="sm"
        justify="center"
      >
        {look.sign}
      </Flex>
      <Box flex="1" minW={0}>
        <HStack columnGap={2} rowGap={0.5} wrap="wrap">
          <Text as="span" fontWeight={isTransition ? "semibold" : "normal"}>
            {look.words}
          </Text>
          {entry.version !== null && <VersionName model={model} version={entry.version} />}
          {entry.verdict !== null && <VerdictBadge verdict={entry.verdict} />}
        </HStack>
        {reasonOf(entry) !== "" && (
          <Text fontSize="sm" overflowWrap="anywhere">
            {reasonOf(entry)}
          </Text>
        )}
        {entry.split !== null && <Split isPlan={isTransition} split={entry.split} styles={styles} />}
        <HStack color="fg.muted" columnGap={3} fontSize="sm" rowGap={0.5} wrap="wrap">
          <time dateTime={entry.at}>{formatClock(new Date(entry.at))}</time>
          <TimeAgo at={entry.at} />
          <Who who={entry.who} />
          <span>{isTransition || entry.name === "applied" ? `generation ${entry.generation}` : `entry ${entry.sequence}`}</span>
          <RunLink run={entry.run} />
          {entry.has_evidence && entry.release !== null && (
            <Link asChild textDecoration="underline">
              <RouterLink to={modelPath(model, "evidence", { release: entry.release, attempt: String(entry.attempt ?? 1) })}>evidence</RouterLink>
            </Link>
          )}
        </HStack>
      </Box>
    </Flex>
  );
}

/** Why; what was applied is told by its split, in names and not in serving numbers. */
function reasonOf({ name, reason, split }: Entry): string {
  return name === "applied" && split !== null ? "" : reason;
}

function Who({ who }: { who: Schemas["Who"] }) {
  return who.kind === "person" ? (
    <Badge size="sm" variant="outline">
      by {who.name}
    </Badge>
  ) : (
    <span>by itself ({who.name})</span>
  );
}

function Split({ isPlan, split, styles }: { isPlan: boolean; split: readonly Schemas["Share"][]; styles: Styles }) {
  return (
    <HStack columnGap={3} fontSize="sm" my={0.5} rowGap={0.5} wrap="wrap">
      <Text as="span" color="fg.muted">
        {isPlan ? "should serve:" : "serves:"}
      </Text>
      {split.length === 0 && <span>nothing</span>}
      {split.map(({ version, percent }) => (
        <HStack key={version} as="span" gap={1.5}>
          <Swatch style={styles.get(version)} />
          <span>
            {formatPercent(percent)} {version}
          </span>
        </HStack>
      ))}
    </HStack>
  );
}
