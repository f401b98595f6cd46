import { Grid, Stack } from "@chakra-ui/react";

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
  );
}
