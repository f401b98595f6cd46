import { Box, Flex, Link, Stack, Text } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

import type { Schemas } from "../../api/client";
import { formatPercent } from "../../charts/words";
import { RunLink } from "../../components/RunLink";
import { TimeAgo } from "../../components/TimeAgo";
import { VerdictBadge } from "../../components/VerdictBadge";
import { VersionName } from "../../components/VersionName";
import { verdictLook } from "../../looks";
import { modelPath } from "../../routes";
import { StepsOfRelease } from "./StepsOfRelease";

interface Props {
  readonly row: Schemas["ModelRow"];
  readonly release: Schemas["LiveReleaseRow"] | null;
}

/** Whether the canary is fine and how sure that is: the judge's own sentence. */
export function CanaryState({ row: { canary, model }, release }: Props) {
  if (canary === null && release === null) return <Text color="fg.muted">No canary runs and no release is live.</Text>;
  return (
    <Box>
      {canary && (
        <>
          <Flex gap={3} align="center" wrap="wrap" mb={1}>
            <Text as="span" fontSize="lg" fontWeight="semibold"><VersionName version={canary.version} model={model} /></Text>
            <Text as="span" fontSize="lg">{formatPercent(canary.percent)}</Text>
            <VerdictBadge verdict={canary.verdict} />
          </Flex>
          <Box aria-live="polite" mb={1}>
            <Text>{canary.verdict === null ? "The judge has said nothing yet." : verdictLook(canary.verdict).meaning}</Text>
            {canary.checks.length > 0 ? (
              <Checks checks={canary.checks} />
            ) : (
              canary.reason && <Text fontSize="sm" color="fg.muted" overflowWrap="anywhere" mt={1}>{canary.reason}</Text>
            )}
          </Box>
          <Text fontSize="sm" color="fg.muted">
            {canary.judged_at && <>judged <TimeAgo at={canary.judged_at} />; </>}
            <Link asChild textDecoration="underline"><RouterLink to={modelPath(model, "evidence")}>the evidence</RouterLink></Link>
          </Text>
        </>
      )}
      {release && (
        <Box mt={canary ? 4 : 0}>
          {!canary && <Text mb={2}>The release of <VersionName version={release.version} model={model} /> is live; it has no canary yet.</Text>}
          <StepsOfRelease steps={release.steps} now={canary?.percent ?? 0} />
          <Text fontSize="sm" color="fg.muted" mt={2} overflowWrap="anywhere">
            began <TimeAgo at={release.started_at} />
            {release.attempt > 1 && `, attempt ${release.attempt}`} <RunLink run={release.run} />
          </Text>
        </Box>
      )}
    </Box>
  );
}

function Checks({ checks }: { readonly checks: readonly Schemas["CheckRow"][] }) {
  return (
    <Stack as="ul" aria-label="Checks" listStyleType="none" fontSize="sm" gap={2} mt={2}>
      {checks.map(({ check, verdict, reason, decides }) => (
        <Box as="li" key={check}>
          <Flex align="center" gap={2} wrap="wrap">
            <Text as="span" fontWeight="semibold" overflowWrap="anywhere" minW={0}>{check}</Text>
            <VerdictBadge verdict={verdict} />
            {!decides && <Text as="span" color="fg.muted">does not decide</Text>}
          </Flex>
          <Text color="fg.muted" overflowWrap="anywhere">{reason}</Text>
        </Box>
      ))}
    </Stack>
  );
}
