import { Alert, Grid, Stack } from "@chakra-ui/react";

import { ActionButton } from "../actions/ActionButton";
import type { Schemas } from "../api/client";
import { Card } from "../components/Card";
import { CanaryState } from "./overview/CanaryState";
import { NewestChange } from "./overview/NewestChange";
import { OtherVersions } from "./overview/OtherVersions";
import { ServesNow } from "./overview/ServesNow";
import { Servers } from "./overview/Servers";
import type { TabProps } from "./tab";

/** One look: what serves now, whether the canary is fine, who changed it last, and whether the servers follow. */
export function OverviewTab({ answer }: TabProps) {
  const { row, head, release, observed } = answer;
  return (
    <Stack gap={4}>
      {row.trouble && <Notice status="error" title="This model's log cannot be read" words={row.trouble} />}
      {row.hold && <HoldBanner hold={row.hold} />}
      <Grid gap={4} templateColumns={{ base: "minmax(0, 1fr)", lg: "repeat(2, minmax(0, 1fr))" }} alignItems="start">
        <Stack gap={4} minW={0}>
          <Card title="What serves now"><ServesNow row={row} /></Card>
          <Card title="Servers"><Servers row={row} observed={observed} /></Card>
        </Stack>
        <Stack gap={4} minW={0}>
          <Card title="Canary"><CanaryState row={row} release={release} /></Card>
          <Card title="Newest change"><NewestChange head={head} /></Card>
          <Card title="Other versions"><OtherVersions answer={answer} /></Card>
        </Stack>
      </Grid>
    </Stack>
  );
}

function Notice({ status, title, words }: { readonly status: "error" | "warning"; readonly title: string; readonly words: string }) {
  return (
    <Alert.Root status={status}>
      <Alert.Indicator />
      <Alert.Content>
        <Alert.Title>{title}</Alert.Title>
        <Alert.Description overflowWrap="anywhere">{words}</Alert.Description>
      </Alert.Content>
    </Alert.Root>
  );
}

function HoldBanner({ hold }: { readonly hold: Schemas["HoldRow"] }) {
  return (
    <Alert.Root status="warning" alignItems="center">
      <Alert.Indicator />
      <Alert.Content>
        <Alert.Title>On hold by {hold.by}: no shift and no promotion</Alert.Title>
        <Alert.Description overflowWrap="anywhere">{hold.reason}</Alert.Description>
      </Alert.Content>
      <ActionButton action="resume" size="xs" />
    </Alert.Root>
  );
}
