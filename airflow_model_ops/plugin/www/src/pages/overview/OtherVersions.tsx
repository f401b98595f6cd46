import { Box, Flex, Heading, Stack, Text } from "@chakra-ui/react";

import type { Schemas } from "../../api/client";
import { ActionButton } from "../../actions/ActionButton";
import { VersionName } from "../../components/VersionName";

const SHOWN = 10;

/** Where the model may go back to, and what it may not. */
export function OtherVersions({ answer: { row, earlier, quarantined } }: { readonly answer: Schemas["ModelAnswer"] }) {
  return (
    <Stack gap={4}>
      <Versions title="Stable before, newest first" versions={earlier.slice(0, SHOWN)} model={row.model} />
      {earlier.length > SHOWN && <Text fontSize="sm" color="fg.muted">and {earlier.length - SHOWN} more</Text>}
      <Versions title="Quarantined" versions={quarantined} model={row.model} lift />
    </Stack>
  );
}

interface Props {
  readonly title: string;
  readonly versions: readonly string[];
  readonly model: string;
  readonly lift?: boolean;
}

function Versions({ title, versions, model, lift = false }: Props) {
  return (
    <Box>
      <Heading as="h3" size="xs" mb={1}>{title}</Heading>
      {versions.length === 0 && <Text color="fg.muted">none</Text>}
      <Stack as="ul" listStyleType="none" gap={1}>
        {versions.map((version) => (
          <Flex as="li" key={version} justify="space-between" align="center" gap={3} wrap="wrap">
            <VersionName version={version} model={model} />
            {lift && <ActionButton action="lift" version={version} size="xs" />}
          </Flex>
        ))}
      </Stack>
    </Box>
  );
}
