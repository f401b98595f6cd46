import { Badge, Box, Button, Field, Flex, HStack, NativeSelect, Stack, Text } from "@chakra-ui/react";
import { useSearchParams } from "react-router-dom";

import type { Schemas } from "../api/client";
import { useEvidence } from "../api/hooks";
import { EvidenceChart } from "../charts/EvidenceChart";
import { formatMoment } from "../charts/words";
import { Card } from "../components/Card";
import { EmptyState, ErrorState, Loading, StaleNote } from "../components/states";
import { VerdictBadge } from "../components/VerdictBadge";
import { VersionName } from "../components/VersionName";
import { useNow } from "../time";
import type { TabProps } from "./tab";
import { actionLook } from "./timeline";

/** How sure the judge was, check by check, in a release: the newest, or the one that the address names. */
export function EvidenceTab({ answer }: TabProps) {
  const { model, live } = answer.row;
  const [asked, ask] = useSearchParams();
  const release = asked.get("release");
  const attempt = Number(asked.get("attempt") ?? Number.NaN);
  const about = { ...(release !== null && { release }), ...(Number.isInteger(attempt) && { attempt }) };
  const { data, error, mutate } = useEvidence(model, { ...about, live });
  if (!data) {
    return error ? <ErrorState error={error} retry={() => void mutate()} what="The evidence" /> : <Loading rows={5} what="the evidence" />;
  }
  const { series, releases } = data;
  return (
    <Stack gap={4}>
      <StaleNote error={error} />
      {releases.length > 0 && (
        <ReleasePicker
          choices={releases}
          chosen={series ?? { release, attempt }}
          onPick={(choice) => {
            ask({ release: choice.release, attempt: String(choice.attempt) });
          }}
        />
      )}
      {series === null ? (
        <EmptyState title="Nothing was judged yet">A release's evidence is shown here from its first step on.</EmptyState>
      ) : (
        <Series
          chosen={asked.get("check")}
          model={model}
          onCheck={(check) => {
            ask(
              (before) => {
                before.set("check", check);
                return before;
              },
              { replace: true },
            );
          }}
          series={series}
        />
      )}
    </Stack>
  );
}

interface PickerProps {
  readonly choices: readonly Schemas["ReleaseChoice"][];
  readonly chosen: { readonly release: string | null; readonly attempt: number };
  readonly onPick: (choice: Schemas["ReleaseChoice"]) => void;
}

function ReleasePicker({ choices, chosen, onPick }: PickerProps) {
  const now = choices.findIndex(({ release, attempt }) => release === chosen.release && attempt === chosen.attempt);
  return (
    <Field.Root maxW="32rem">
      <Field.Label>Release</Field.Label>
      <NativeSelect.Root size="sm">
        <NativeSelect.Field
          onChange={({ currentTarget }) => {
            const choice = choices[Number(currentTarget.value)];
            if (choice) onPick(choice);
          }}
          value={now}
        >
          {now < 0 && <option value={-1}>one that is not in the list</option>}
          {choices.map((choice, index) => (
            <option key={`${choice.release} ${choice.attempt}`} value={index}>
              {choiceWords(choice)}
            </option>
          ))}
        </NativeSelect.Field>
        <NativeSelect.Indicator />
      </NativeSelect.Root>
    </Field.Root>
  );
}

function choiceWords({ version, release, attempt, at, outcome }: Schemas["ReleaseChoice"]): string {
  const again = attempt > 1 ? `, attempt ${attempt}` : "";
  return `${version ?? release}${again}, ${formatMoment(new Date(at))}: ${outcome === null ? "live" : actionLook(outcome).words}`;
}

/** The check that people came to see: the one whose verdict is the release's. */
function decisive({ checks, verdict }: Schemas["EvidenceSeries"]): Schemas["CheckSeries"] | undefined {
  return checks.find((one) => !one.muted && one.verdict === verdict);
}

interface SeriesProps {
  readonly model: string;
  readonly series: Schemas["EvidenceSeries"];
  readonly chosen: string | null;
  readonly onCheck: (check: string) => void;
}

function Series({ model, series, chosen, onCheck }: SeriesProps) {
  const now = useNow();
  const check = series.checks.find((one) => one.check === chosen) ?? decisive(series) ?? series.checks[0];
  return (
    <Card aside={series.live && <LiveBadge />} title="Evidence">
      <Stack gap={4}>
        <Box>
          <HStack rowGap={1} wrap="wrap">
            <VerdictBadge verdict={series.verdict} />
            {series.version !== null && <VersionName model={model} version={series.version} />}
            <Text color="fg.muted">against</Text>
            {series.stable === null ? <Text>nothing: it was the first</Text> : <VersionName model={model} version={series.stable} />}
          </HStack>
          <Text mt={1} overflowWrap="anywhere">
            {series.reason}
          </Text>
        </Box>
        <CheckPicker checks={series.checks} chosen={check?.check} onCheck={onCheck} />
        {check === undefined ? (
          <Text color="fg.muted">This release has no checks.</Text>
        ) : (
          <Box>
            <Text fontWeight="semibold">{check.description || check.check}</Text>
            <HStack align="start" mb={2} mt={1} rowGap={1} wrap="wrap">
              <VerdictBadge verdict={check.verdict} />
              {check.muted && <Badge title="It is shown, and decides nothing">muted</Badge>}
              <Text flex="1 1 16rem" fontSize="sm" overflowWrap="anywhere">
                {check.reason}
              </Text>
            </HStack>
            <EvidenceChart check={check} confidence={series.confidence} now={series.live ? new Date(now) : null} steps={series.steps} />
          </Box>
        )}
      </Stack>
    </Card>
  );
}

function CheckPicker({ checks, chosen, onCheck }: { checks: readonly Schemas["CheckSeries"][]; chosen: string | undefined; onCheck: (check: string) => void }) {
  if (checks.length < 2) return null;
  return (
    <Flex aria-label="Checks" gap={2} role="group" wrap="wrap">
      {checks.map(({ check, verdict }) => (
        <Button
          key={check}
          aria-pressed={check === chosen}
          height="auto"
          maxW="full"
          overflowWrap="anywhere"
          textAlign="start"
          whiteSpace="normal"
          onClick={() => {
            onCheck(check);
          }}
          py={1.5}
          size="sm"
          variant={check === chosen ? "subtle" : "outline"}
        >
          {check} <VerdictBadge verdict={verdict} />
        </Button>
      ))}
    </Flex>
  );
}

function LiveBadge() {
  return (
    <Badge colorPalette="green" variant="surface">
      <Box aria-hidden="true" bg="green.fg" borderRadius="full" boxSize="8px" css={{ "@media (prefers-reduced-motion: no-preference)": { animation: "pulse 2s ease-in-out infinite" } }} />
      live: grows every few seconds
    </Badge>
  );
}
