import { Box, Flex, Text } from "@chakra-ui/react";

import type { Schemas } from "../api/client";
import { stylesOf, type VersionStyle } from "../charts/palette";
import { Fill, Swatch } from "../charts/Swatch";
import { formatPercent } from "../charts/words";
import type { Roles } from "../looks";

interface Props {
  readonly split: readonly Schemas["Share"][];
  /** What the versions are; see `rolesOf`. */
  readonly roles: Roles;
  /** How they look, where another bar shows some of them in other roles. */
  readonly styles?: ReadonlyMap<string, VersionStyle>;
  /** Of the bar, as a CSS length. */
  readonly height?: string;
  readonly legend?: boolean;
}

/** The traffic split as a bar, with the same in words. */
export function SplitBar({ split, roles, styles, height = "10px", legend = false }: Props) {
  const shares = split.filter((share) => share.percent > 0);
  if (shares.length === 0) return <Text color="fg.muted">nothing</Text>;
  const looks = styles ?? stylesOf(shares.map(({ version }) => version), roles);
  const words = shares.map((share) => `${formatPercent(share.percent)} ${share.version} (${roles[share.version] ?? "other"})`).join(", ");
  return (
    <Box minW="80px">
      <Flex role="img" aria-label={`Traffic: ${words}`} title={words} h={height} borderRadius="sm" overflow="hidden" bg="bg.muted" gap="2px">
        {shares.map(({ version, percent }) => (
          <Box key={version} data-version={version} width={`${percent}%`} minW="4px">
            <Fill style={looks.get(version)} />
          </Box>
        ))}
      </Flex>
      {legend && (
        <Flex aria-hidden="true" gap={4} rowGap={1} mt={2} wrap="wrap" fontSize="sm">
          {shares.map(({ version, percent }) => (
            <Flex key={version} align="center" columnGap={2} wrap="wrap">
              <Flex as="span" align="center" gap={2} minW={0}>
                <Swatch style={looks.get(version)} />
                <Text as="span" fontFamily="mono" overflowWrap="anywhere">{version}</Text>
              </Flex>
              <Text as="span" fontWeight="semibold" whiteSpace="nowrap">{formatPercent(percent)}</Text>
              <Text as="span" color="fg.muted" whiteSpace="nowrap">{roles[version] ?? "other"}</Text>
            </Flex>
          ))}
        </Flex>
      )}
    </Box>
  );
}
