import { Grid, Stack, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

import { Card } from "../components/Card";
import { unread } from "../looks";
import { CanaryState } from "./overview/CanaryState";
import { NewestChange } from "./overview/NewestChange";
import { OtherVersions } from "./overview/OtherVersions";
import { ServesNow } from "./overview/ServesNow";
import { Servers } from "./overview/Servers";
import { TrafficOverTime } from "./overview/TrafficOverTime";
import type { TabProps } from "./tab";

/** One look: what serves now, whether the canary is fine, who changed it last, and whether the servers follow. */
export function OverviewTab({ answer }: TabProps) {
  const { row, head, release, observed } = answer;
  const unknown = unread(row) !== null && <Text color="fg.muted">Not known while this model's log cannot be read.</Text>;
  return (
    <Grid gap={4} templateColumns={{ base: "minmax(0, 1fr)", lg: "repeat(2, minmax(0, 1fr))" }} alignItems="start">
      <Column>
        <Card title="What serves now" order={1}>{unknown || <ServesNow row={row} />}</Card>
        <Card title="Traffic over time" order={4}><TrafficOverTime row={row} /></Card>
        <Card title="Servers" order={5}><Servers row={row} observed={observed} /></Card>
      </Column>
      <Column>
        <Card title="Canary" order={2}>{unknown || <CanaryState row={row} release={release} />}</Card>
        <Card title="Newest change" order={3}>{unknown || <NewestChange head={head} />}</Card>
        <Card title="Other versions" order={6}>{unknown || <OtherVersions answer={answer} />}</Card>
      </Column>
    </Grid>
  );
}

/** On a narrow screen the two columns are one, in the order of the cards: the canary comes right after what serves. */
function Column({ children }: { readonly children: ReactNode }) {
  return (
    <Stack gap={4} minW={0} display={{ base: "contents", lg: "flex" }}>
      {children}
    </Stack>
  );
}
