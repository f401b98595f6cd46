import { Alert, Badge, Box, Flex, Stack, Table, Text } from "@chakra-ui/react";

import type { Schemas } from "../../api/client";
import { SplitBar } from "../../components/SplitBar";
import { VersionName } from "../../components/VersionName";
import { PartTrouble } from "../../components/states";
import { type Roles, rolesOf, unread } from "../../looks";

interface Props {
  readonly row: Schemas["ModelRow"];
  readonly observed: Schemas["ModelAnswer"]["observed"];
}

/** What really serves, as the servers answer now, against what should. */
export function Servers({ row, observed: { value, trouble } }: Props) {
  return (
    <Stack gap={3}>
      {row.drift && (
        <Alert.Root status="warning" size="sm">
          <Alert.Indicator />
          <Alert.Content>
            <Alert.Title>What serves differs from what should</Alert.Title>
            <Alert.Description overflowWrap="anywhere">{row.drift}</Alert.Description>
          </Alert.Content>
        </Alert.Root>
      )}
      {trouble && <PartTrouble trouble={trouble} what="What really serves" />}
      {value && <Observed row={row} observed={value} />}
      {!value && !trouble && <Text color="fg.muted">The fleet knows nothing of this model.</Text>}
    </Stack>
  );
}

function Observed({ row, observed }: { readonly row: Schemas["ModelRow"]; readonly observed: Schemas["ObservedRow"] }) {
  const roles = rolesOf(row);
  return (
    <>
      <Box>
        <Text fontSize="xs" color="fg.muted">should</Text>
        {unread(row) ? <Text color="fg.muted">not known</Text> : <SplitBar split={row.split} roles={roles} />}
        <Text fontSize="xs" color="fg.muted" mt={1}>does</Text>
        <SplitBar split={observed.split} roles={roles} />
      </Box>
      {observed.servers.length > 0 && (
        <Table.Root size="sm" aria-label="Servers">
          <Table.Header>
            <Table.Row>
              <Table.ColumnHeader>Server</Table.ColumnHeader>
              <Table.ColumnHeader>Loaded</Table.ColumnHeader>
            </Table.Row>
          </Table.Header>
          <Table.Body>
            {observed.servers.map((server) => <ServerLine key={server.name} server={server} roles={roles} />)}
          </Table.Body>
        </Table.Root>
      )}
    </>
  );
}

function ServerLine({ server, roles }: { readonly server: Schemas["ServerRow"]; readonly roles: Roles }) {
  return (
    <Table.Row>
      <Table.Cell verticalAlign="top">
        <Text overflowWrap="anywhere">{server.name}</Text>
        <Badge colorPalette={server.answers ? "green" : "red"} variant="subtle">
          <span aria-hidden="true">{server.answers ? "✓" : "✕"}</span> {server.answers ? "answers" : "does not answer"}
        </Badge>
      </Table.Cell>
      <Table.Cell>
        {server.loaded.length === 0 && <Text color="fg.muted">{server.answers ? "nothing" : "not known"}</Text>}
        {server.loaded.map((version) => (
          <Flex key={version} columnGap={2} wrap="wrap">
            <VersionName version={version} />
            {roles[version] && <Text as="span" color="fg.muted">{roles[version]}</Text>}
          </Flex>
        ))}
      </Table.Cell>
    </Table.Row>
  );
}
