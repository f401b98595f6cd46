import { Text } from "@chakra-ui/react";

import { Card } from "../components/Card";
import { SplitBar } from "../components/SplitBar";
import { TimeAgo } from "../components/TimeAgo";
import { VersionName } from "../components/VersionName";
import { rolesOf } from "../looks";
import type { TabProps } from "./tab";

export function OverviewTab({ answer: { row } }: TabProps) {
  return (
    <Card title="What serves now">
      {row.stable && (
        <Text mb={3}>
          <VersionName version={row.stable} model={row.model} /> is stable since <TimeAgo at={row.stable_since} />
        </Text>
      )}
      <SplitBar split={row.split} roles={rolesOf(row)} height="22px" legend />
    </Card>
  );
}
