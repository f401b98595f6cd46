import { Box, Button, Heading, Stack, Text } from "@chakra-ui/react";

import type { Schemas } from "../../api/client";
import { columnsOf, relationsOf } from "../../charts/graph";
import { kindLook } from "../../charts/kinds";

interface Props {
  readonly graph: Schemas["LineageGraph"];
  readonly chosen: string | null;
  readonly onChoose: (id: string) => void;
}

/** The same as the graph, as a list: from what is furthest upstream to what is furthest downstream. */
export function LineageList({ graph, chosen, onChoose }: Props) {
  const sides = [
    { title: "Where it comes from", nodes: graph.nodes.filter(({ column }) => column < 0) },
    { title: "The version", nodes: graph.nodes.filter(({ column }) => column === 0) },
    { title: "What it led to", nodes: graph.nodes.filter(({ column }) => column > 0) },
  ];
  return (
    <Stack gap={4}>
      {sides
        .filter(({ nodes }) => nodes.length > 0)
        .map(({ title, nodes }) => (
          <Box key={title} as="section" aria-label={title}>
            <Heading as="h2" mb={2} size="xs">
              {title}
            </Heading>
            <Stack as="ol" gap={1} listStyleType="none">
              {columnsOf(nodes)
                .flat()
                .map((node) => (
                  <Line key={node.id} graph={graph} isChosen={node.id === chosen} node={node} onChoose={onChoose} />
                ))}
            </Stack>
          </Box>
        ))}
    </Stack>
  );
}

interface LineProps {
  readonly graph: Schemas["LineageGraph"];
  readonly node: Schemas["GraphNode"];
  readonly isChosen: boolean;
  readonly onChoose: (id: string) => void;
}

function Line({ graph, node, isChosen, onChoose }: LineProps) {
  const { sign, words, palette } = kindLook(node.kind);
  const leads = relationsOf(node.id, graph.nodes, graph.edges).to.map(({ label, other }) => `${label} ${other.label}`);
  return (
    <Box as="li">
      <Button
        aria-pressed={isChosen}
        colorPalette={palette}
        height="auto"
        justifyContent="start"
        onClick={() => {
          onChoose(node.id);
        }}
        py={1.5}
        size="sm"
        textAlign="start"
        variant={isChosen ? "surface" : "outline"}
        whiteSpace="normal"
        width="full"
      >
        <span aria-hidden="true">{sign}</span>
        <Box as="span" display="block" minW={0}>
          <Text as="span" color="fg.muted">
            {words}
          </Text>{" "}
          <Text as="span" overflowWrap="anywhere">
            {node.label}
          </Text>
          {leads.length > 0 && (
            <Text as="span" color="fg.muted" display="block" fontSize="xs" fontWeight="normal" overflowWrap="anywhere">
              {leads.join(", ")}
            </Text>
          )}
        </Box>
      </Button>
    </Box>
  );
}
