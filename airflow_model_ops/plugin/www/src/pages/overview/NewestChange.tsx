import { Badge, Box, Flex, Text } from "@chakra-ui/react";

import type { Schemas } from "../../api/client";
import { LongText } from "../../components/LongText";
import { RunLink } from "../../components/RunLink";
import { TimeAgo } from "../../components/TimeAgo";
import { eventWords } from "../../looks";

/** The newest change of what should serve: who wanted it, and why. */
export function NewestChange({ head }: { readonly head: Schemas["Head"] | null }) {
  if (head === null) return <Text color="fg.muted">Nothing was released or adopted yet.</Text>;
  return (
    <Box>
      <Flex gap={2} align="center" wrap="wrap">
        <Text as="span" fontWeight="semibold">{eventWords(head.action)}</Text>
        <Text as="span" overflowWrap="anywhere">by {head.who.name}</Text>
        <Badge variant="subtle" colorPalette={head.who.kind === "person" ? "blue" : "gray"}>{head.who.kind}</Badge>
      </Flex>
      <Text mt={1} whiteSpace="pre-wrap" overflowWrap="anywhere"><LongText text={head.reason} /></Text>
      <Text fontSize="sm" color="fg.muted" mt={1}>
        <TimeAgo at={head.at} />, generation {head.generation},{" "}
        {head.applied_at ? <>applied <TimeAgo at={head.applied_at} /></> : "not applied yet"} <RunLink run={head.run} />
      </Text>
    </Box>
  );
}
