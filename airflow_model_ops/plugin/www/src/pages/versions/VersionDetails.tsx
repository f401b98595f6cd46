import { Box, DataList, Flex, Heading, HStack, Link, SimpleGrid, Text } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

import { ActionButton } from "../../actions/ActionButton";
import type { Schemas } from "../../api/client";
import { formatNumber } from "../../charts/words";
import { RunLink } from "../../components/RunLink";
import { modelPath } from "../../routes";
import { absolute } from "../../time";

/** What the table has no room for, and what can be done with a version. */
export function VersionDetails({ model, row }: { readonly model: string; readonly row: Schemas["VersionRow"] }) {
  const { version, status } = row;
  const isQuarantined = status.includes("quarantined");
  const isStable = status.includes("stable");
  const isGone = status.includes("retired");
  return (
    <Box left={2} maxW="calc(100vw - 8rem)" position="sticky" py={2} width="fit-content">
      {row.trouble !== null && (
        <Text color="fg.error" mb={3} overflowWrap="anywhere">
          {row.trouble}
        </Text>
      )}
      <SimpleGrid columns={{ base: 1, md: 3 }} columnGap={10} rowGap={5}>
        <List
          items={[
            ["Serving number", row.serving_number],
            ["Created", row.created === null ? "unknown" : absolute(row.created)],
            ["Validation", row.blessed === null ? "unknown" : row.blessed ? "passed" : "failed"],
            ["Digest", row.digest ?? "none"],
          ]}
          title="About"
        />
        <List items={Object.entries(row.metrics).map(([name, value]) => [name, formatNumber(value)])} title="Offline metrics" />
        <List items={Object.entries(row.hyperparameters).map(([name, value]) => [name, asText(value)])} title="Hyperparameters" />
      </SimpleGrid>
      <Flex align="center" gap={3} mt={4} wrap="wrap">
        {!isStable && !isQuarantined && !isGone && <ActionButton action="rollback" size="xs" version={version} />}
        {!isQuarantined && !isGone && <ActionButton action="pin" size="xs" version={version} />}
        {isQuarantined ? <ActionButton action="lift" size="xs" version={version} /> : <ActionButton action="quarantine" size="xs" version={version} />}
        <HStack columnGap={4} fontSize="sm">
          <Link asChild textDecoration="underline">
            <RouterLink to={modelPath(model, "lineage", { version })}>lineage</RouterLink>
          </Link>
          <RunLink run={row.run}>the run that pushed it</RunLink>
        </HStack>
      </Flex>
    </Box>
  );
}

function List({ items, title }: { items: readonly (readonly [string, string])[]; title: string }) {
  return (
    <Box minW={0}>
      <Heading as="h3" mb={2} size="xs">
        {title}
      </Heading>
      {items.length === 0 ? (
        <Text color="fg.muted">none</Text>
      ) : (
        <DataList.Root gap={1} orientation="horizontal" size="sm">
          {items.map(([name, value]) => (
            <DataList.Item key={name}>
              <DataList.ItemLabel minW="7rem">{name}</DataList.ItemLabel>
              <DataList.ItemValue minW={0} overflowWrap="anywhere">
                {value}
              </DataList.ItemValue>
            </DataList.Item>
          ))}
        </DataList.Root>
      )}
    </Box>
  );
}

function asText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
