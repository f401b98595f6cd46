import { Alert, Box, Button, Field, Flex, NativeSelect, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";
import { useSearchParams } from "react-router-dom";

import type { Schemas } from "../api/client";
import { useLineage, useVersions } from "../api/hooks";
import { NODE } from "../charts/graph";
import { LineageGraph } from "../charts/LineageGraph";
import { useWidth } from "../charts/useWidth";
import { Card } from "../components/Card";
import { EmptyState, ErrorState, Loading, PartTrouble, StaleNote } from "../components/states";
import { LineageList } from "./lineage/LineageList";
import { NodeDetails } from "./lineage/NodeDetails";
import type { TabProps } from "./tab";

/** The most versions the picker lists; any other is reached from the versions table. */
const PICKED_FROM = 200;
/** Below this many pixels a graph is a scrolling exercise, and the list says the same. */
const NARROW = 2.5 * NODE.width;

/** Where a version comes from, and what it led to. */
export function LineageTab({ answer }: TabProps) {
  const { model, stable, canary } = answer.row;
  const [asked, ask] = useSearchParams();
  const versions = useVersions(model, { limit: PICKED_FROM });
  const known = versions.data?.versions.map(({ version }) => version) ?? [];
  const version = asked.get("version") ?? canary?.version ?? stable ?? known[0] ?? null;
  const { data, error, mutate } = useLineage(model, version);
  if (version === null) {
    if (versions.error) return <ErrorState error={versions.error} retry={() => void versions.mutate()} what="The versions" />;
    return versions.data ? <EmptyState title="No versions yet" /> : <Loading what="the versions" />;
  }
  return (
    <Stack gap={4}>
      <VersionPicker
        chosen={version}
        onPick={(picked) => {
          ask({ version: picked });
        }}
        versions={known}
      />
      {data ? (
        <>
          <StaleNote error={error} />
          <Lineage key={data.version} graph={data} />
        </>
      ) : error ? (
        <ErrorState error={error} retry={() => void mutate()} what={`The lineage of ${version}`} />
      ) : (
        <Loading rows={5} what={`the lineage of ${version}`} />
      )}
    </Stack>
  );
}

function VersionPicker({ chosen, versions, onPick }: { chosen: string; versions: readonly string[]; onPick: (version: string) => void }) {
  return (
    <Field.Root maxW="22rem">
      <Field.Label>Version</Field.Label>
      <NativeSelect.Root size="sm">
        <NativeSelect.Field
          onChange={({ currentTarget }) => {
            onPick(currentTarget.value);
          }}
          value={chosen}
        >
          {(versions.includes(chosen) ? versions : [chosen, ...versions]).map((version) => (
            <option key={version} value={version}>
              {version}
            </option>
          ))}
        </NativeSelect.Field>
        <NativeSelect.Indicator />
      </NativeSelect.Root>
    </Field.Root>
  );
}

function Lineage({ graph }: { graph: Schemas["LineageGraph"] }) {
  const [box, width] = useWidth<HTMLDivElement>(900);
  const [wanted, want] = useState<"graph" | "list" | null>(null);
  const [chosen, choose] = useState<string | null>(graph.nodes.find(({ column }) => column === 0)?.id ?? null);
  const shape = wanted ?? (width < NARROW ? "list" : "graph");
  const node = graph.nodes.find(({ id }) => id === chosen);
  if (graph.nodes.length === 0) {
    if (graph.ledger.trouble) return <PartTrouble trouble={graph.ledger.trouble} what="The lineage" />;
    return (
      <EmptyState title={`The ledger knows nothing of ${graph.version} yet`}>
        {graph.behind > 0 ? `${entries(graph.behind)} of the log wait to be written to it.` : "It may have been adopted, or pushed before there was a ledger."}
      </EmptyState>
    );
  }
  return (
    <Box ref={box} minW={0}>
      <Stack gap={4}>
        <Notes graph={graph} />
        <Flex aria-label="Shown as" gap={2} role="group">
          {(["graph", "list"] as const).map((one) => (
            <Button
              key={one}
              aria-pressed={shape === one}
              onClick={() => {
                want(one);
              }}
              size="xs"
              variant={shape === one ? "subtle" : "outline"}
            >
              {one === "graph" ? "Graph" : "List"}
            </Button>
          ))}
        </Flex>
        {shape === "graph" ? (
          <LineageGraph chosen={chosen} graph={graph} onChoose={choose} />
        ) : (
          <LineageList chosen={chosen} graph={graph} onChoose={choose} />
        )}
        {node && (
          <Card title="Details">
            <NodeDetails graph={graph} node={node} onChoose={choose} />
          </Card>
        )}
      </Stack>
    </Box>
  );
}

function Notes({ graph: { behind, ledger, truncated } }: { graph: Schemas["LineageGraph"] }) {
  return (
    <>
      {ledger.trouble && <PartTrouble trouble={ledger.trouble} what="What only the ledger knows" />}
      {behind > 0 && (
        <Alert.Root role="status" size="sm" status="info">
          <Alert.Indicator />
          <Alert.Title>The ledger is {entries(behind)} behind the log: what happened last may not be here yet.</Alert.Title>
        </Alert.Root>
      )}
      {truncated && (
        <Text color="fg.muted" fontSize="sm">
          There is more downstream than is shown.
        </Text>
      )}
    </>
  );
}

function entries(count: number): string {
  return count === 1 ? "1 entry" : `${count} entries`;
}
