import { Badge, Box, Flex, Text } from "@chakra-ui/react";

import type { Schemas } from "../../api/client";
import { formatPercent } from "../../charts/words";
import { SplitBar } from "../../components/SplitBar";
import { TimeAgo } from "../../components/TimeAgo";
import { VersionName } from "../../components/VersionName";
import { rolesOf } from "../../looks";
import { absolute } from "../../time";

const TRAFFIC: Record<Schemas["Traffic"], { words: string; palette: string; sign: string }> = {
  applied: { words: "the servers follow", palette: "green", sign: "✓" },
  changing: { words: "the servers are changing over", palette: "blue", sign: "…" },
  none: { words: "nothing released yet", palette: "gray", sign: "∅" },
};
/** The log has the change as applied, yet it cannot be seen that this is still so. */
const DOUBTFUL = { words: "was applied; see Servers for what is wrong now", palette: "yellow", sign: "!" };

function trafficLook({ traffic, health, drift }: Schemas["ModelRow"]) {
  const isWrong = Boolean(health.trouble ?? health.value?.reason ?? drift);
  return traffic === "applied" && isWrong ? DOUBTFUL : TRAFFIC[traffic];
}

/** What serves, since when and with what share: the first thing anybody wants to know. */
export function ServesNow({ row }: { readonly row: Schemas["ModelRow"] }) {
  const share = row.split.find(({ version }) => version === row.stable);
  const traffic = trafficLook(row);
  return (
    <Box>
      {row.stable === null ? (
        <Text fontSize="2xl" fontWeight="semibold" mb={3}>{row.traffic === "none" ? "Nothing was released yet" : "Nothing is stable"}</Text>
      ) : (
        <>
          <Text fontSize={{ base: "xl", md: "2xl" }} fontWeight="semibold" lineHeight="short">
            <VersionName version={row.stable} model={row.model} />
          </Text>
          <Text color="fg.muted" mb={3}>
            {share && <>serves {formatPercent(share.percent)}, </>}
            stable for <TimeAgo at={row.stable_since} word="" />
            {row.stable_since && <>, since {absolute(row.stable_since)}</>}
          </Text>
        </>
      )}
      {row.split.length > 0 && <SplitBar split={row.split} roles={rolesOf(row)} height="22px" legend />}
      <Flex gap={2} mt={3} wrap="wrap">
        <Badge colorPalette={traffic.palette} variant="subtle">
          <span aria-hidden="true">{traffic.sign}</span> {traffic.words}
        </Badge>
        {row.golden && (
          <Badge colorPalette="yellow" variant="subtle">
            <span aria-hidden="true">★</span> golden: {row.golden === row.stable ? "the stable one" : row.golden}
          </Badge>
        )}
      </Flex>
    </Box>
  );
}
