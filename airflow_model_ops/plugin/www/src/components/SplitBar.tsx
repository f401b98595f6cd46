import { Box, Flex, Text } from "@chakra-ui/react";

import type { Schemas } from "../api/client";
import { HATCHED, ROLE_COLOUR, type Role } from "../looks";

interface Props {
  readonly split: readonly Schemas["Share"][];
  /** What the versions are, by name; see `rolesOf`. */
  readonly roles: Readonly<Record<string, Role>>;
  /** Of the bar, as a CSS length. */
  readonly height?: string;
  readonly legend?: boolean;
}

/** Say a share, such as `5 %` or `0.5 %`. */
export function percent(value: number): string {
  return `${Number(value.toFixed(value < 1 ? 2 : 1))} %`;
}

/** The traffic split as a bar, with the same in words. */
export function SplitBar({ split, roles, height = "10px", legend = false }: Props) {
  const shares = split.filter((share) => share.percent > 0);
  if (shares.length === 0) return <Text color="fg.muted">nothing</Text>;
  const words = shares.map((share) => `${percent(share.percent)} ${share.version} (${roles[share.version] ?? "other"})`).join(", ");
  return (
    <Box minW="80px">
      <Flex role="img" aria-label={`Traffic: ${words}`} title={words} h={height} borderRadius="sm" overflow="hidden" bg="bg.muted" gap="2px">
        {shares.map((share) => (
          <Box
            key={share.version}
            width={`${share.percent}%`}
            minW="4px"
            bg={ROLE_COLOUR[roles[share.version] ?? "other"]}
            {...(roles[share.version] !== "stable" && { backgroundImage: HATCHED })}
          />
        ))}
      </Flex>
      {legend && (
        <Flex aria-hidden="true" gap={4} rowGap={1} mt={2} wrap="wrap" fontSize="sm">
          {shares.map((share) => (
            <Flex key={share.version} align="center" columnGap={2} wrap="wrap">
              <Box
                boxSize="10px"
                borderRadius="2px"
                bg={ROLE_COLOUR[roles[share.version] ?? "other"]}
                {...(roles[share.version] !== "stable" && { backgroundImage: HATCHED })}
              />
              <Text as="span" fontFamily="mono" overflowWrap="anywhere">{share.version}</Text>
              <Text as="span" fontWeight="semibold" whiteSpace="nowrap">{percent(share.percent)}</Text>
              <Text as="span" color="fg.muted" whiteSpace="nowrap">{roles[share.version] ?? "other"}</Text>
            </Flex>
          ))}
        </Flex>
      )}
    </Box>
  );
}
