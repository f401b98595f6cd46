import { Button, DataList, Heading, HStack, Stack, Text } from "@chakra-ui/react";

import type { Schemas } from "../../api/client";
import { relationsOf, type Relation } from "../../charts/graph";
import { kindLook } from "../../charts/kinds";
import { RunLink } from "../../components/RunLink";
import { VersionName } from "../../components/VersionName";
import { momentOr } from "../../time";

interface Props {
  readonly node: Schemas["GraphNode"];
  readonly graph: Schemas["LineageGraph"];
  readonly onChoose: (id: string) => void;
}

/** All that is known of a node of the graph, and its neighbours. */
export function NodeDetails({ node, graph, onChoose }: Props) {
  const { from, to } = relationsOf(node.id, graph.nodes, graph.edges);
  const details = Object.entries(node.detail);
  return (
    <Stack aria-live="polite" gap={3}>
      <HStack rowGap={0} wrap="wrap">
        <Text color="fg.muted" fontSize="sm">
          {kindLook(node.kind).words}
        </Text>
        {node.model === null ? (
          <Text fontWeight="semibold" overflowWrap="anywhere">
            {node.label}
          </Text>
        ) : (
          <VersionName model={node.model} version={node.label} />
        )}
      </HStack>
      {details.length > 0 && (
        <DataList.Root gap={2} size="sm">
          {details.map(([name, value]) => (
            <DataList.Item key={name}>
              <DataList.ItemLabel>{name}</DataList.ItemLabel>
              <DataList.ItemValue minW={0} overflowWrap="anywhere" whiteSpace="pre-wrap">
                {momentOr(value)}
              </DataList.ItemValue>
            </DataList.Item>
          ))}
        </DataList.Root>
      )}
      <RunLink run={node.run}>open the DAG run</RunLink>
      <Neighbours onChoose={onChoose} relations={from} title="Comes from" />
      <Neighbours onChoose={onChoose} relations={to} title="Led to" />
    </Stack>
  );
}

function Neighbours({ relations, title, onChoose }: { relations: readonly Relation[]; title: string; onChoose: (id: string) => void }) {
  if (relations.length === 0) return null;
  return (
    <div>
      <Heading as="h3" mb={1} size="xs">
        {title}
      </Heading>
      <Stack as="ul" gap={1} listStyleType="none">
        {relations.map(({ label, other }) => (
          <HStack key={`${other.id} ${label}`} as="li" columnGap={2} fontSize="sm" rowGap={0} wrap="wrap">
            <Text as="span" color="fg.muted">
              {label}
            </Text>
            <Button
              height="auto"
              onClick={() => {
                onChoose(other.id);
              }}
              p={0.5}
              size="xs"
              textAlign="start"
              variant="ghost"
              whiteSpace="normal"
            >
              {kindLook(other.kind).words} {other.label}
            </Button>
          </HStack>
        ))}
      </Stack>
    </div>
  );
}
